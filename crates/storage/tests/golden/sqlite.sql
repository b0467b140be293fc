-- feed
SELECT "authority"."revision" AS "head_revision", "authority"."head_hash" AS "head_hash", "authority"."lease_ms" AS "lease_ms", CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS "now", "event"."revision", "event"."hash", "event"."account", "event"."key_id", "event"."action" FROM "authority" LEFT JOIN (SELECT "revision", "hash", "account", "key_id", "action" FROM "audit_event" WHERE "revision" >= ? ORDER BY "revision" ASC LIMIT ?) AS "event" ON 1 = 1 WHERE "authority"."id" = ? ORDER BY "event"."revision" ASC;

-- begin
UPDATE "authority" SET "revision" = "revision" WHERE "authority"."id" = ?;
SELECT "authority"."id", "authority"."revision", "authority"."head_hash", "authority"."lease_ms", "authority"."secret_checks", CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS "now" FROM "authority" WHERE "authority"."id" = ? LIMIT ?;

-- digest
SELECT COUNT(*) AS num_items FROM (SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time" FROM "api_key_secret" WHERE "api_key_secret"."digest" = ?) AS "sub_query";

-- event by request
SELECT "audit_event"."revision", "audit_event"."event_time", "audit_event"."actor", "audit_event"."action", "audit_event"."account", "audit_event"."key_id", "audit_event"."request_id", "audit_event"."request_digest", "audit_event"."before_json", "audit_event"."after_json", "audit_event"."secret_version", "audit_event"."hash" FROM "audit_event" WHERE "audit_event"."actor" = ? AND "audit_event"."request_id" = ? LIMIT ?;

-- key by id
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count" FROM "api_key" WHERE "api_key"."id" = ?;
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN (?);

-- keys, first page
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count" FROM "api_key" WHERE "api_key"."revoke_time" IS NULL AND "api_key"."disabled" = ? AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > ?) ORDER BY "api_key"."create_revision" DESC, "api_key"."id" DESC LIMIT ?;
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN (?, ?, ?);

-- keys, next page
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count" FROM "api_key" WHERE "api_key"."revoke_time" IS NULL AND "api_key"."disabled" = ? AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > ?) AND "api_key"."create_revision" <= ? AND ("api_key"."create_revision" < ? OR "api_key"."id" < ?) ORDER BY "api_key"."create_revision" DESC, "api_key"."id" DESC LIMIT ?;
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN (?, ?, ?);

-- keys of an account, first page
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count" FROM "api_key" WHERE "api_key"."revoke_time" IS NULL AND "api_key"."disabled" = ? AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > ?) AND "api_key"."account" IN (?) ORDER BY "api_key"."create_revision" DESC, "api_key"."id" DESC LIMIT ?;
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN (?, ?, ?);

-- keys of an account, next page
SELECT "api_key"."id", "api_key"."account", "api_key"."display_name", "api_key"."description", "api_key"."scopes", "api_key"."all_projects", "api_key"."projects", "api_key"."networks", "api_key"."labels", "api_key"."disabled", "api_key"."revoke_time", "api_key"."revoke_reason", "api_key"."expire_time", "api_key"."create_time", "api_key"."update_time", "api_key"."created_by", "api_key"."create_revision", "api_key"."revision", "api_key"."last_used_time", "api_key"."use_count" FROM "api_key" WHERE "api_key"."revoke_time" IS NULL AND "api_key"."disabled" = ? AND ("api_key"."expire_time" IS NULL OR "api_key"."expire_time" > ?) AND "api_key"."account" IN (?) AND "api_key"."create_revision" <= ? AND ("api_key"."create_revision" < ? OR "api_key"."id" < ?) ORDER BY "api_key"."create_revision" DESC, "api_key"."id" DESC LIMIT ?;
SELECT "api_key_secret"."key_id", "api_key_secret"."version", "api_key_secret"."digest", "api_key_secret"."secret_version", "api_key_secret"."hint", "api_key_secret"."sealed", "api_key_secret"."create_time", "api_key_secret"."retire_time", "api_key_secret"."last_used_time" FROM "api_key_secret" WHERE "api_key_secret"."key_id" IN (?, ?, ?);

-- confirm
UPDATE "replica" SET "applied_revision" = ?, "applied_hash" = ?, "nonce" = ?, "seen_time" = CAST(unixepoch('subsec') * 1000000 AS INTEGER) WHERE "replica"."id" = ?;

-- fence
DELETE FROM "replica" WHERE "replica"."id" = ? AND "replica"."nonce" = ?;
