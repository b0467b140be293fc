-- feed
SELECT "authority"."revision" AS "head_revision", "authority"."head_hash" AS "head_hash", CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS "now", CAST(current_setting('transaction_read_only') = 'on' AS INTEGER)::BIGINT AS "is_read_only", "event"."revision", "event"."hash", "event"."event_time", "event"."account", "event"."key_id", "event"."action", CAST(OCTET_LENGTH(api_key.display_name) + OCTET_LENGTH(api_key.description) + OCTET_LENGTH(api_key.scopes) + OCTET_LENGTH(api_key.projects) + OCTET_LENGTH(api_key.networks) + OCTET_LENGTH(api_key.labels) AS BIGINT) AS "key_bytes" FROM "authority" LEFT JOIN (SELECT "revision", "hash", "event_time", "account", "key_id", "action" FROM "audit_event" WHERE "revision" >= $1 ORDER BY "revision" ASC LIMIT $2) AS "event" ON 1 = 1 LEFT JOIN "api_key" ON "api_key"."id" = "event"."key_id" WHERE "authority"."id" = $3 ORDER BY "event"."revision" ASC;

-- begin
UPDATE "authority" SET "revision" = "revision" WHERE "authority"."id" = $1;
SELECT "authority"."id", "authority"."revision", "authority"."head_hash", "authority"."lease_ms", "authority"."secret_checks", "authority"."log_format_min", "authority"."lease_us", CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS "now", (SELECT "audit_event"."event_time" FROM "audit_event" WHERE "audit_event"."revision" = "authority"."revision") AS "newest_time" FROM "authority" WHERE "authority"."id" = $1 LIMIT $2;

-- count of active keys
SELECT COUNT(*) AS "count" FROM (SELECT "api_key"."account" FROM "api_key" WHERE "api_key"."account" = $1 AND "api_key"."revoke_time" IS NULL AND "api_key"."disabled" = $2 AND "api_key"."expire_time" IS NULL LIMIT $3) AS "counted";
SELECT COUNT(*) AS "count" FROM (SELECT "api_key"."account" FROM "api_key" WHERE "api_key"."account" = $1 AND "api_key"."revoke_time" IS NULL AND "api_key"."disabled" = $2 AND "api_key"."expire_time" > $3 LIMIT $4) AS "counted";

-- newest active key
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count", "api_key"."created_by_subject" FROM "api_key" WHERE "api_key"."account" = $1 AND ("api_key"."revoke_time" IS NULL AND "api_key"."disabled" = $2 AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > $3)) ORDER BY "api_key"."create_revision" DESC, "api_key"."id" DESC LIMIT $4;
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time", "api_key_secret"."scheme", "api_key_secret"."retired" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN ($1);

-- key IDs ever used
SELECT "api_key"."id", "api_key"."account", "api_key"."create_revision" FROM "api_key" WHERE "api_key"."id" IN ($1, $2);
SELECT DISTINCT "audit_event"."key_id" FROM "audit_event" WHERE "audit_event"."key_id" IN ($1);

-- account ID ever used
SELECT "audit_event"."revision" FROM "audit_event" WHERE "audit_event"."account" = $1 LIMIT $2;

-- caller of a token
SELECT "api_key"."id", "api_key"."account", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."disabled", "api_key"."revoke_time", "api_key"."expire_time", "api_key_secret"."retire_time", "api_key_secret"."retired", "account"."suspended", (SELECT MAX("newer"."version") FROM "api_key_secret" AS "newer" WHERE "newer"."key_id" = "api_key_secret"."key_id" AND "newer"."version" > "api_key_secret"."version") AS "newer_version" FROM "api_key_secret" INNER JOIN "api_key" ON "api_key"."id" = "api_key_secret"."key_id" INNER JOIN "account" ON "account"."id" = "api_key"."account" WHERE "api_key_secret"."digest" = $1;

-- key and secrets written
UPDATE "api_key" SET "id" = $1, "account" = $2, "display_name" = $3, "description" = $4, "scopes" = $5, "all_projects" = $6, "projects" = $7, "networks" = $8, "labels" = $9, "disabled" = $10, "revoke_time" = $11, "revoke_reason" = $12, "expire_time" = $13, "create_time" = $14, "update_time" = $15, "created_by" = $16, "create_revision" = $17, "revision" = $18, "created_by_subject" = $19 WHERE "api_key"."id" = $20;
SELECT "api_key_secret"."version" FROM "api_key_secret" WHERE "api_key_secret"."key_id" = $1;
UPDATE "api_key_secret" SET "retire_time" = $1, "retired" = $2 WHERE "api_key_secret"."key_id" = $3 AND "api_key_secret"."version" = $4;
DELETE FROM "api_key_secret" WHERE "api_key_secret"."key_id" = $1 AND "api_key_secret"."version" NOT IN ($2);

-- event by request
SELECT "audit_event"."revision", "audit_event"."event_time", "audit_event"."actor", "audit_event"."action", "audit_event"."account", "audit_event"."key_id", "audit_event"."request_id", "audit_event"."request_digest", "audit_event"."before_json", "audit_event"."after_json", "audit_event"."secret_version", "audit_event"."hash", "audit_event"."subject" FROM "audit_event" WHERE "audit_event"."actor" = $1 AND "audit_event"."request_id" = $2 LIMIT $3;

-- keys by their tokens
SELECT "api_key_secret"."digest", "api_key_secret"."key_id" FROM "api_key_secret" WHERE "api_key_secret"."digest" IN ($1, $2);
SELECT "api_key"."id", "api_key"."account", "api_key"."create_revision" FROM "api_key" WHERE "api_key"."id" IN ($1);

-- keys of an import
SELECT "api_key"."id" FROM "api_key" WHERE "api_key"."create_revision" = $1;
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count", "api_key"."created_by_subject" FROM "api_key" WHERE "api_key"."id" IN ($1);
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time", "api_key_secret"."scheme", "api_key_secret"."retired" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN ($1);

-- keys of a revocation
SELECT "api_key"."id" FROM "api_key" WHERE "api_key"."account" = $1 AND "api_key"."revoke_time" = $2;
SELECT "audit_event"."key_id" FROM "audit_event" WHERE "audit_event"."account" = $1 AND "audit_event"."revision" > $2 AND "audit_event"."action" = $3;

-- key by id
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count", "api_key"."created_by_subject" FROM "api_key" WHERE "api_key"."id" = $1;
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time", "api_key_secret"."scheme", "api_key_secret"."retired" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN ($1);

-- keys to revoke
SELECT "api_key"."id", "api_key"."create_revision", "api_key"."all_projects", CAST(OCTET_LENGTH(api_key.display_name) + OCTET_LENGTH(api_key.description) + OCTET_LENGTH(api_key.scopes) + OCTET_LENGTH(api_key.projects) + OCTET_LENGTH(api_key.networks) + OCTET_LENGTH(api_key.labels) AS BIGINT) AS "bytes", $1 AS "projects", $2 AS "labels" FROM "api_key" WHERE TRUE AND "api_key"."account" IN ($3) AND COALESCE("revoke_time", $4) = $5 ORDER BY "api_key"."create_revision" ASC, "api_key"."id" ASC LIMIT $6;

-- keys, first page
SELECT "api_key"."id", "api_key"."display_name", "api_key"."create_revision", "api_key"."last_used_time", "api_key"."expire_time", CAST(OCTET_LENGTH(api_key.display_name) + OCTET_LENGTH(api_key.description) + OCTET_LENGTH(api_key.scopes) + OCTET_LENGTH(api_key.projects) + OCTET_LENGTH(api_key.networks) + OCTET_LENGTH(api_key.labels) AS BIGINT) AS "bytes" FROM "api_key" WHERE "api_key"."revoke_time" IS NULL AND "api_key"."disabled" = $1 AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > $2) ORDER BY "create_revision" DESC, "api_key"."id" DESC LIMIT $3;
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count", "api_key"."created_by_subject" FROM "api_key" WHERE "api_key"."id" IN ($1, $2) AND ("api_key"."revoke_time" IS NULL AND "api_key"."disabled" = $3 AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > $4));
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time", "api_key_secret"."scheme", "api_key_secret"."retired" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN ($1, $2);

-- keys, next page
SELECT "api_key"."id", "api_key"."display_name", "api_key"."create_revision", "api_key"."last_used_time", "api_key"."expire_time", CAST(OCTET_LENGTH(api_key.display_name) + OCTET_LENGTH(api_key.description) + OCTET_LENGTH(api_key.scopes) + OCTET_LENGTH(api_key.projects) + OCTET_LENGTH(api_key.networks) + OCTET_LENGTH(api_key.labels) AS BIGINT) AS "bytes" FROM "api_key" WHERE "api_key"."revoke_time" IS NULL AND "api_key"."disabled" = $1 AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > $2) AND "create_revision" <= $3 AND ("create_revision" < $4 OR "api_key"."id" < $5) ORDER BY "create_revision" DESC, "api_key"."id" DESC LIMIT $6;
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count", "api_key"."created_by_subject" FROM "api_key" WHERE "api_key"."id" IN ($1, $2) AND ("api_key"."revoke_time" IS NULL AND "api_key"."disabled" = $3 AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > $4));
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time", "api_key_secret"."scheme", "api_key_secret"."retired" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN ($1, $2);

-- keys of an account, first page
SELECT "api_key"."id", "api_key"."display_name", "api_key"."create_revision", "api_key"."last_used_time", "api_key"."expire_time", CAST(OCTET_LENGTH(api_key.display_name) + OCTET_LENGTH(api_key.description) + OCTET_LENGTH(api_key.scopes) + OCTET_LENGTH(api_key.projects) + OCTET_LENGTH(api_key.networks) + OCTET_LENGTH(api_key.labels) AS BIGINT) AS "bytes" FROM "api_key" WHERE "api_key"."revoke_time" IS NULL AND "api_key"."disabled" = $1 AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > $2) AND "api_key"."account" IN ($3) ORDER BY "create_revision" DESC, "api_key"."id" DESC LIMIT $4;
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count", "api_key"."created_by_subject" FROM "api_key" WHERE "api_key"."id" IN ($1, $2) AND ("api_key"."revoke_time" IS NULL AND "api_key"."disabled" = $3 AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > $4));
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time", "api_key_secret"."scheme", "api_key_secret"."retired" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN ($1, $2);

-- keys of an account, next page
SELECT "api_key"."id", "api_key"."display_name", "api_key"."create_revision", "api_key"."last_used_time", "api_key"."expire_time", CAST(OCTET_LENGTH(api_key.display_name) + OCTET_LENGTH(api_key.description) + OCTET_LENGTH(api_key.scopes) + OCTET_LENGTH(api_key.projects) + OCTET_LENGTH(api_key.networks) + OCTET_LENGTH(api_key.labels) AS BIGINT) AS "bytes" FROM "api_key" WHERE "api_key"."revoke_time" IS NULL AND "api_key"."disabled" = $1 AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > $2) AND "api_key"."account" IN ($3) AND "create_revision" <= $4 AND ("create_revision" < $5 OR "api_key"."id" < $6) ORDER BY "create_revision" DESC, "api_key"."id" DESC LIMIT $7;
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count", "api_key"."created_by_subject" FROM "api_key" WHERE "api_key"."id" IN ($1, $2) AND ("api_key"."revoke_time" IS NULL AND "api_key"."disabled" = $3 AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > $4));
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time", "api_key_secret"."scheme", "api_key_secret"."retired" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN ($1, $2);

-- accounts, first page
SELECT "account"."id", "account"."display_name", "account"."suspended", "account"."policy", "account"."create_time", "account"."update_time", "account"."create_revision", "account"."revision" FROM "account" ORDER BY "account"."create_revision" DESC, "account"."id" DESC LIMIT $1;

-- accounts, next page
SELECT "account"."id", "account"."display_name", "account"."suspended", "account"."policy", "account"."create_time", "account"."update_time", "account"."create_revision", "account"."revision" FROM "account" WHERE "account"."create_revision" <= $1 AND ("account"."create_revision" < $2 OR "account"."id" < $3) ORDER BY "account"."create_revision" DESC, "account"."id" DESC LIMIT $4;

-- events
SELECT "audit_event"."revision", CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS BIGINT) AS "bytes" FROM "audit_event" WHERE "audit_event"."revision" >= $1 ORDER BY "audit_event"."revision" ASC LIMIT $2;
SELECT "audit_event"."revision", "audit_event"."event_time", "audit_event"."actor", "audit_event"."action", "audit_event"."account", "audit_event"."key_id", "audit_event"."request_id", "audit_event"."request_digest", "audit_event"."before_json", "audit_event"."after_json", "audit_event"."secret_version", "audit_event"."hash", "audit_event"."subject" FROM "audit_event" WHERE "audit_event"."revision" IN ($1, $2) ORDER BY "audit_event"."revision" ASC;

-- events of an account
SELECT "audit_event"."revision", CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS BIGINT) AS "bytes" FROM "audit_event" WHERE "audit_event"."revision" >= $1 AND "audit_event"."account" IN ($2) ORDER BY "audit_event"."revision" ASC LIMIT $3;
SELECT "audit_event"."revision", "audit_event"."event_time", "audit_event"."actor", "audit_event"."action", "audit_event"."account", "audit_event"."key_id", "audit_event"."request_id", "audit_event"."request_digest", "audit_event"."before_json", "audit_event"."after_json", "audit_event"."secret_version", "audit_event"."hash", "audit_event"."subject" FROM "audit_event" WHERE "audit_event"."revision" IN ($1, $2) ORDER BY "audit_event"."revision" ASC;

-- events of an account since a time
SELECT "audit_event"."revision", CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS BIGINT) AS "bytes" FROM "audit_event" WHERE "audit_event"."revision" >= $1 AND "audit_event"."account" IN ($2) AND "audit_event"."event_time" + $3 >= $4 ORDER BY "audit_event"."revision" ASC LIMIT $5;
SELECT "audit_event"."revision", "audit_event"."event_time", "audit_event"."actor", "audit_event"."action", "audit_event"."account", "audit_event"."key_id", "audit_event"."request_id", "audit_event"."request_digest", "audit_event"."before_json", "audit_event"."after_json", "audit_event"."secret_version", "audit_event"."hash", "audit_event"."subject" FROM "audit_event" WHERE "audit_event"."revision" IN ($1, $2) ORDER BY "audit_event"."revision" ASC;

-- events of a key
SELECT "audit_event"."revision", CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS BIGINT) AS "bytes" FROM "audit_event" WHERE "audit_event"."revision" >= $1 AND "audit_event"."key_id" = $2 ORDER BY "audit_event"."revision" ASC LIMIT $3;
SELECT "audit_event"."revision", "audit_event"."event_time", "audit_event"."actor", "audit_event"."action", "audit_event"."account", "audit_event"."key_id", "audit_event"."request_id", "audit_event"."request_digest", "audit_event"."before_json", "audit_event"."after_json", "audit_event"."secret_version", "audit_event"."hash", "audit_event"."subject" FROM "audit_event" WHERE "audit_event"."revision" IN ($1, $2) ORDER BY "audit_event"."revision" ASC;

-- events of an actor
SELECT "audit_event"."revision", CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS BIGINT) AS "bytes" FROM "audit_event" WHERE "audit_event"."revision" >= $1 AND "audit_event"."actor" = $2 ORDER BY "audit_event"."revision" ASC LIMIT $3;
SELECT "audit_event"."revision", "audit_event"."event_time", "audit_event"."actor", "audit_event"."action", "audit_event"."account", "audit_event"."key_id", "audit_event"."request_id", "audit_event"."request_digest", "audit_event"."before_json", "audit_event"."after_json", "audit_event"."secret_version", "audit_event"."hash", "audit_event"."subject" FROM "audit_event" WHERE "audit_event"."revision" IN ($1, $2) ORDER BY "audit_event"."revision" ASC;

-- events of a time
SELECT MIN("revision" + $1) AS "first", MAX("revision" + $2) AS "last" FROM "audit_event" WHERE "audit_event"."event_time" >= $3 LIMIT $4;
SELECT "audit_event"."revision", CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS BIGINT) AS "bytes" FROM "audit_event" WHERE "audit_event"."revision" >= $1 AND "audit_event"."event_time" >= $2 ORDER BY "audit_event"."revision" ASC LIMIT $3;
SELECT "audit_event"."revision", "audit_event"."event_time", "audit_event"."actor", "audit_event"."action", "audit_event"."account", "audit_event"."key_id", "audit_event"."request_id", "audit_event"."request_digest", "audit_event"."before_json", "audit_event"."after_json", "audit_event"."secret_version", "audit_event"."hash", "audit_event"."subject" FROM "audit_event" WHERE "audit_event"."revision" IN ($1, $2) ORDER BY "audit_event"."revision" ASC;

-- events of a window
SELECT MIN("revision" + $1) AS "first", MAX("revision" + $2) AS "last" FROM "audit_event" WHERE "audit_event"."event_time" >= $3 AND "audit_event"."event_time" < $4 LIMIT $5;
SELECT "audit_event"."revision", CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS BIGINT) AS "bytes" FROM "audit_event" WHERE "audit_event"."revision" >= $1 AND "audit_event"."revision" <= $2 AND "audit_event"."event_time" >= $3 AND "audit_event"."event_time" < $4 ORDER BY "audit_event"."revision" ASC LIMIT $5;
SELECT "audit_event"."revision", "audit_event"."event_time", "audit_event"."actor", "audit_event"."action", "audit_event"."account", "audit_event"."key_id", "audit_event"."request_id", "audit_event"."request_digest", "audit_event"."before_json", "audit_event"."after_json", "audit_event"."secret_version", "audit_event"."hash", "audit_event"."subject" FROM "audit_event" WHERE "audit_event"."revision" IN ($1, $2) ORDER BY "audit_event"."revision" ASC;

-- newest events
SELECT "audit_event"."revision", CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS BIGINT) AS "bytes" FROM "audit_event" WHERE "audit_event"."revision" <= $1 ORDER BY "audit_event"."revision" DESC LIMIT $2;
SELECT "audit_event"."revision", "audit_event"."event_time", "audit_event"."actor", "audit_event"."action", "audit_event"."account", "audit_event"."key_id", "audit_event"."request_id", "audit_event"."request_digest", "audit_event"."before_json", "audit_event"."after_json", "audit_event"."secret_version", "audit_event"."hash", "audit_event"."subject" FROM "audit_event" WHERE "audit_event"."revision" IN ($1, $2) ORDER BY "audit_event"."revision" DESC;

-- newest events of a key in an account
SELECT "audit_event"."revision", CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS BIGINT) AS "bytes" FROM "audit_event" WHERE "audit_event"."revision" <= $1 AND COALESCE("account", $2) IN ($3) AND "audit_event"."key_id" = $4 ORDER BY "audit_event"."revision" DESC LIMIT $5;
SELECT "audit_event"."revision", "audit_event"."event_time", "audit_event"."actor", "audit_event"."action", "audit_event"."account", "audit_event"."key_id", "audit_event"."request_id", "audit_event"."request_digest", "audit_event"."before_json", "audit_event"."after_json", "audit_event"."secret_version", "audit_event"."hash", "audit_event"."subject" FROM "audit_event" WHERE "audit_event"."revision" IN ($1, $2) ORDER BY "audit_event"."revision" DESC;

-- newest events of a window
SELECT MIN("revision" + $1) AS "first", MAX("revision" + $2) AS "last" FROM "audit_event" WHERE "audit_event"."event_time" >= $3 AND "audit_event"."event_time" < $4 LIMIT $5;
SELECT "audit_event"."revision", CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS BIGINT) AS "bytes" FROM "audit_event" WHERE "audit_event"."revision" >= $1 AND "audit_event"."revision" <= $2 AND "audit_event"."event_time" >= $3 AND "audit_event"."event_time" < $4 ORDER BY "audit_event"."revision" DESC LIMIT $5;
SELECT "audit_event"."revision", "audit_event"."event_time", "audit_event"."actor", "audit_event"."action", "audit_event"."account", "audit_event"."key_id", "audit_event"."request_id", "audit_event"."request_digest", "audit_event"."before_json", "audit_event"."after_json", "audit_event"."secret_version", "audit_event"."hash", "audit_event"."subject" FROM "audit_event" WHERE "audit_event"."revision" IN ($1, $2) ORDER BY "audit_event"."revision" DESC;

-- used keys, locked
SELECT "api_key"."id" FROM "api_key" WHERE "api_key"."id" IN ($1) ORDER BY "api_key"."id" ASC FOR UPDATE;

-- usage
UPDATE "api_key" SET "use_count" = (CASE WHEN ("api_key"."id" = $1 AND "api_key"."create_revision" = $2) THEN "use_count" + $3 ELSE "use_count" END), "last_used_time" = (CASE WHEN ("api_key"."id" = $4 AND "api_key"."create_revision" = $5 AND ("last_used_time" IS NULL OR "last_used_time" < $6)) THEN $7 ELSE "last_used_time" END) WHERE "api_key"."id" IN ($8);
UPDATE "api_key_secret" SET "last_used_time" = (CASE WHEN ("api_key_secret"."digest" = $1 AND "api_key_secret"."key_id" = $2 AND ("last_used_time" IS NULL OR "last_used_time" < $3)) THEN $4 ELSE "last_used_time" END) WHERE "api_key_secret"."digest" IN ($5);

-- registry
SELECT "authority"."revision" AS "head_revision", (SELECT "hash" FROM "audit_event" WHERE "revision" = $1) AS "requested_hash", "replica"."id" AS "id", "replica"."applied_revision" AS "applied_revision", "replica"."applied_hash" AS "applied_hash", "replica"."nonce" AS "nonce", "replica"."build" AS "build", "replica"."address" AS "address", "replica"."join_time" AS "join_time", "replica"."seen_time" AS "seen_time", "audit_event"."hash" FROM "authority" LEFT JOIN "replica" ON 1 = 1 LEFT JOIN "audit_event" ON "audit_event"."revision" = "replica"."applied_revision" WHERE "authority"."id" = $2;

-- confirm
UPDATE "replica" SET "applied_revision" = $1, "applied_hash" = $2, "nonce" = $3, "seen_time" = CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) WHERE "replica"."id" = $4;

-- fence
DELETE FROM "replica" WHERE "replica"."id" = $1 AND "replica"."nonce" = $2;
