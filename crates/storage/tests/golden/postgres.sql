-- feed
SELECT "authority"."revision" AS "head_revision", "authority"."head_hash" AS "head_hash", "authority"."lease_ms" AS "lease_ms", CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS "now", "event"."revision", "event"."hash", "event"."account", "event"."key_id", "event"."action" FROM "authority" LEFT JOIN (SELECT "revision", "hash", "account", "key_id", "action" FROM "audit_event" WHERE "revision" >= $1 ORDER BY "revision" ASC LIMIT $2) AS "event" ON 1 = 1 WHERE "authority"."id" = $3 ORDER BY "event"."revision" ASC;

-- begin
UPDATE "authority" SET "revision" = "revision" WHERE "authority"."id" = $1;
SELECT "authority"."id", "authority"."revision", "authority"."head_hash", "authority"."lease_ms", "authority"."secret_checks", CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS "now" FROM "authority" WHERE "authority"."id" = $1 LIMIT $2;

-- digest
SELECT COUNT(*) AS num_items FROM (SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time" FROM "api_key_secret" WHERE "api_key_secret"."digest" = $1) AS "sub_query";

-- event by request
SELECT "audit_event"."revision", "audit_event"."event_time", "audit_event"."actor", "audit_event"."action", "audit_event"."account", "audit_event"."key_id", "audit_event"."request_id", "audit_event"."request_digest", "audit_event"."before_json", "audit_event"."after_json", "audit_event"."secret_version", "audit_event"."hash" FROM "audit_event" WHERE "audit_event"."actor" = $1 AND "audit_event"."request_id" = $2 LIMIT $3;

-- key by id
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count" FROM "api_key" WHERE "api_key"."id" = $1;
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN ($1);

-- keys, first page
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count" FROM "api_key" WHERE "api_key"."revoke_time" IS NULL AND "api_key"."disabled" = $1 AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > $2) ORDER BY "api_key"."create_revision" DESC, "api_key"."id" DESC LIMIT $3;
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN ($1, $2, $3);

-- keys, next page
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count" FROM "api_key" WHERE "api_key"."revoke_time" IS NULL AND "api_key"."disabled" = $1 AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > $2) AND "api_key"."create_revision" <= $3 AND ("api_key"."create_revision" < $4 OR "api_key"."id" < $5) ORDER BY "api_key"."create_revision" DESC, "api_key"."id" DESC LIMIT $6;
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN ($1, $2, $3);

-- keys of an account, first page
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count" FROM "api_key" WHERE "api_key"."revoke_time" IS NULL AND "api_key"."disabled" = $1 AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > $2) AND "api_key"."account" IN ($3) ORDER BY "api_key"."create_revision" DESC, "api_key"."id" DESC LIMIT $4;
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN ($1, $2, $3);

-- keys of an account, next page
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count" FROM "api_key" WHERE "api_key"."revoke_time" IS NULL AND "api_key"."disabled" = $1 AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > $2) AND "api_key"."account" IN ($3) AND "api_key"."create_revision" <= $4 AND ("api_key"."create_revision" < $5 OR "api_key"."id" < $6) ORDER BY "api_key"."create_revision" DESC, "api_key"."id" DESC LIMIT $7;
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN ($1, $2, $3);

-- confirm
UPDATE "replica" SET "applied_revision" = $1, "applied_hash" = $2, "nonce" = $3, "seen_time" = CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) WHERE "replica"."id" = $4;

-- fence
DELETE FROM "replica" WHERE "replica"."id" = $1 AND "replica"."nonce" = $2;
