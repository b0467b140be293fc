-- feed
SELECT `authority`.`revision` AS `head_revision`, `authority`.`head_hash` AS `head_hash`, CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED) AS `now`, CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF') AS `is_read_only`, `event`.`revision`, `event`.`hash`, `event`.`event_time`, `event`.`account`, `event`.`key_id`, `event`.`action`, CAST(OCTET_LENGTH(api_key.display_name) + OCTET_LENGTH(api_key.description) + OCTET_LENGTH(api_key.scopes) + OCTET_LENGTH(api_key.projects) + OCTET_LENGTH(api_key.networks) + OCTET_LENGTH(api_key.labels) AS SIGNED) AS `key_bytes` FROM `authority` LEFT JOIN (SELECT `revision`, `hash`, `event_time`, `account`, `key_id`, `action` FROM `audit_event` WHERE `revision` >= ? ORDER BY `revision` ASC LIMIT ?) AS `event` ON 1 = 1 LEFT JOIN `api_key` ON `api_key`.`id` = `event`.`key_id` WHERE `authority`.`id` = ? ORDER BY `event`.`revision` ASC;

-- begin
UPDATE `authority` SET `revision` = `revision` WHERE `authority`.`id` = ?;
SELECT `authority`.`id`, `authority`.`revision`, `authority`.`head_hash`, `authority`.`lease_ms`, `authority`.`secret_checks`, `authority`.`log_format_min`, `authority`.`lease_us`, CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED) AS `now`, (SELECT `audit_event`.`event_time` FROM `audit_event` WHERE `audit_event`.`revision` = `authority`.`revision`) AS `newest_time` FROM `authority` WHERE `authority`.`id` = ? LIMIT ?;

-- count of active keys
SELECT COUNT(*) AS `count` FROM (SELECT `api_key`.`account` FROM `api_key` WHERE `api_key`.`account` = ? AND `api_key`.`revoke_time` IS NULL AND `api_key`.`disabled` = ? AND `api_key`.`expire_time` IS NULL LIMIT ?) AS `counted`;
SELECT COUNT(*) AS `count` FROM (SELECT `api_key`.`account` FROM `api_key` WHERE `api_key`.`account` = ? AND `api_key`.`revoke_time` IS NULL AND `api_key`.`disabled` = ? AND `api_key`.`expire_time` > ? LIMIT ?) AS `counted`;

-- newest active key
SELECT `api_key`.`id`, `api_key`.`account`, `api_key`.`display_name`, `api_key`.`description`, `api_key`.`scopes`, `api_key`.`all_projects`, `api_key`.`projects`, `api_key`.`networks`, `api_key`.`labels`, `api_key`.`disabled`, `api_key`.`revoke_time`, `api_key`.`revoke_reason`, `api_key`.`expire_time`, `api_key`.`create_time`, `api_key`.`update_time`, `api_key`.`created_by`, `api_key`.`create_revision`, `api_key`.`revision`, `api_key`.`last_used_time`, `api_key`.`use_count`, `api_key`.`created_by_subject` FROM `api_key` WHERE `api_key`.`account` = ? AND (`api_key`.`revoke_time` IS NULL AND `api_key`.`disabled` = ? AND (`api_key`.`expire_time` IS NULL OR `api_key`.`expire_time` > ?)) ORDER BY `api_key`.`create_revision` DESC, `api_key`.`id` DESC LIMIT ?;
SELECT `api_key_secret`.`key_id`, `api_key_secret`.`version`, `api_key_secret`.`digest`, `api_key_secret`.`secret_version`, `api_key_secret`.`hint`, `api_key_secret`.`sealed`, `api_key_secret`.`create_time`, `api_key_secret`.`retire_time`, `api_key_secret`.`last_used_time`, `api_key_secret`.`scheme`, `api_key_secret`.`retired` FROM `api_key_secret` WHERE `api_key_secret`.`key_id` IN (?);

-- key IDs ever used
SELECT `api_key`.`id`, `api_key`.`account`, `api_key`.`create_revision` FROM `api_key` WHERE `api_key`.`id` IN (?, ?);
SELECT DISTINCT `audit_event`.`key_id` FROM `audit_event` WHERE `audit_event`.`key_id` IN (?);

-- account ID ever used
SELECT `audit_event`.`revision` FROM `audit_event` WHERE `audit_event`.`account` = ? LIMIT ?;

-- caller of a token
SELECT `api_key`.`id`, `api_key`.`account`, `api_key`.`scopes`, `api_key`.`all_projects`, `api_key`.`projects`, `api_key`.`networks`, `api_key`.`disabled`, `api_key`.`revoke_time`, `api_key`.`expire_time`, `api_key_secret`.`retire_time`, `api_key_secret`.`retired`, `account`.`suspended`, (SELECT MAX(`newer`.`version`) FROM `api_key_secret` AS `newer` WHERE `newer`.`key_id` = `api_key_secret`.`key_id` AND `newer`.`version` > `api_key_secret`.`version`) AS `newer_version` FROM `api_key_secret` INNER JOIN `api_key` ON `api_key`.`id` = `api_key_secret`.`key_id` INNER JOIN `account` ON `account`.`id` = `api_key`.`account` WHERE `api_key_secret`.`digest` = ?;

-- key and secrets written
UPDATE `api_key` SET `id` = ?, `account` = ?, `display_name` = ?, `description` = ?, `scopes` = ?, `all_projects` = ?, `projects` = ?, `networks` = ?, `labels` = ?, `disabled` = ?, `revoke_time` = ?, `revoke_reason` = ?, `expire_time` = ?, `create_time` = ?, `update_time` = ?, `created_by` = ?, `create_revision` = ?, `revision` = ?, `created_by_subject` = ? WHERE `api_key`.`id` = ?;
SELECT `api_key_secret`.`version` FROM `api_key_secret` WHERE `api_key_secret`.`key_id` = ?;
UPDATE `api_key_secret` SET `retire_time` = ?, `retired` = ? WHERE `api_key_secret`.`key_id` = ? AND `api_key_secret`.`version` = ?;
DELETE FROM `api_key_secret` WHERE `api_key_secret`.`key_id` = ? AND `api_key_secret`.`version` NOT IN (?);

-- event by request
SELECT `audit_event`.`revision`, `audit_event`.`event_time`, `audit_event`.`actor`, `audit_event`.`action`, `audit_event`.`account`, `audit_event`.`key_id`, `audit_event`.`request_id`, `audit_event`.`request_digest`, `audit_event`.`before_json`, `audit_event`.`after_json`, `audit_event`.`secret_version`, `audit_event`.`hash`, `audit_event`.`subject` FROM `audit_event` WHERE `audit_event`.`actor` = ? AND `audit_event`.`request_id` = ? LIMIT ?;

-- keys by their tokens
SELECT `api_key_secret`.`digest`, `api_key_secret`.`key_id` FROM `api_key_secret` WHERE `api_key_secret`.`digest` IN (?, ?);
SELECT `api_key`.`id`, `api_key`.`account`, `api_key`.`create_revision` FROM `api_key` WHERE `api_key`.`id` IN (?);

-- keys of an import
SELECT `api_key`.`id` FROM `api_key` WHERE `api_key`.`create_revision` = ?;
SELECT `api_key`.`id`, `api_key`.`account`, `api_key`.`display_name`, `api_key`.`description`, `api_key`.`scopes`, `api_key`.`all_projects`, `api_key`.`projects`, `api_key`.`networks`, `api_key`.`labels`, `api_key`.`disabled`, `api_key`.`revoke_time`, `api_key`.`revoke_reason`, `api_key`.`expire_time`, `api_key`.`create_time`, `api_key`.`update_time`, `api_key`.`created_by`, `api_key`.`create_revision`, `api_key`.`revision`, `api_key`.`last_used_time`, `api_key`.`use_count`, `api_key`.`created_by_subject` FROM `api_key` WHERE `api_key`.`id` IN (?);
SELECT `api_key_secret`.`key_id`, `api_key_secret`.`version`, `api_key_secret`.`digest`, `api_key_secret`.`secret_version`, `api_key_secret`.`hint`, `api_key_secret`.`sealed`, `api_key_secret`.`create_time`, `api_key_secret`.`retire_time`, `api_key_secret`.`last_used_time`, `api_key_secret`.`scheme`, `api_key_secret`.`retired` FROM `api_key_secret` WHERE `api_key_secret`.`key_id` IN (?);

-- keys of a revocation
SELECT `api_key`.`id` FROM `api_key` WHERE `api_key`.`account` = ? AND `api_key`.`revoke_time` = ?;
SELECT `audit_event`.`key_id` FROM `audit_event` WHERE `audit_event`.`account` = ? AND `audit_event`.`revision` > ? AND `audit_event`.`action` = ?;

-- key by id
SELECT `api_key`.`id`, `api_key`.`account`, `api_key`.`display_name`, `api_key`.`description`, `api_key`.`scopes`, `api_key`.`all_projects`, `api_key`.`projects`, `api_key`.`networks`, `api_key`.`labels`, `api_key`.`disabled`, `api_key`.`revoke_time`, `api_key`.`revoke_reason`, `api_key`.`expire_time`, `api_key`.`create_time`, `api_key`.`update_time`, `api_key`.`created_by`, `api_key`.`create_revision`, `api_key`.`revision`, `api_key`.`last_used_time`, `api_key`.`use_count`, `api_key`.`created_by_subject` FROM `api_key` WHERE `api_key`.`id` = ?;
SELECT `api_key_secret`.`key_id`, `api_key_secret`.`version`, `api_key_secret`.`digest`, `api_key_secret`.`secret_version`, `api_key_secret`.`hint`, `api_key_secret`.`sealed`, `api_key_secret`.`create_time`, `api_key_secret`.`retire_time`, `api_key_secret`.`last_used_time`, `api_key_secret`.`scheme`, `api_key_secret`.`retired` FROM `api_key_secret` WHERE `api_key_secret`.`key_id` IN (?);

-- keys to revoke
SELECT `api_key`.`id`, `api_key`.`create_revision`, `api_key`.`all_projects`, CAST(OCTET_LENGTH(api_key.display_name) + OCTET_LENGTH(api_key.description) + OCTET_LENGTH(api_key.scopes) + OCTET_LENGTH(api_key.projects) + OCTET_LENGTH(api_key.networks) + OCTET_LENGTH(api_key.labels) AS SIGNED) AS `bytes`, ? AS `projects`, ? AS `labels` FROM `api_key` WHERE TRUE AND `api_key`.`account` IN (?) AND COALESCE(`revoke_time`, ?) = ? ORDER BY `api_key`.`create_revision` ASC, `api_key`.`id` ASC LIMIT ?;

-- keys, first page
SELECT `api_key`.`create_revision`, `api_key`.`id` FROM `api_key` WHERE TRUE ORDER BY `api_key`.`create_revision` DESC, `api_key`.`id` DESC LIMIT ? OFFSET ?;
SELECT `api_key`.`id`, `api_key`.`display_name`, `api_key`.`create_revision`, `api_key`.`last_used_time`, `api_key`.`expire_time`, CAST(OCTET_LENGTH(api_key.display_name) + OCTET_LENGTH(api_key.description) + OCTET_LENGTH(api_key.scopes) + OCTET_LENGTH(api_key.projects) + OCTET_LENGTH(api_key.networks) + OCTET_LENGTH(api_key.labels) AS SIGNED) AS `bytes` FROM `api_key` WHERE `api_key`.`revoke_time` IS NULL AND `api_key`.`disabled` = ? AND (`api_key`.`expire_time` IS NULL OR `api_key`.`expire_time` > ?) ORDER BY `create_revision` DESC, `api_key`.`id` DESC LIMIT ?;
SELECT `api_key`.`id`, `api_key`.`account`, `api_key`.`display_name`, `api_key`.`description`, `api_key`.`scopes`, `api_key`.`all_projects`, `api_key`.`projects`, `api_key`.`networks`, `api_key`.`labels`, `api_key`.`disabled`, `api_key`.`revoke_time`, `api_key`.`revoke_reason`, `api_key`.`expire_time`, `api_key`.`create_time`, `api_key`.`update_time`, `api_key`.`created_by`, `api_key`.`create_revision`, `api_key`.`revision`, `api_key`.`last_used_time`, `api_key`.`use_count`, `api_key`.`created_by_subject` FROM `api_key` WHERE `api_key`.`id` IN (?, ?) AND (`api_key`.`revoke_time` IS NULL AND `api_key`.`disabled` = ? AND (`api_key`.`expire_time` IS NULL OR `api_key`.`expire_time` > ?));
SELECT `api_key_secret`.`key_id`, `api_key_secret`.`version`, `api_key_secret`.`digest`, `api_key_secret`.`secret_version`, `api_key_secret`.`hint`, `api_key_secret`.`sealed`, `api_key_secret`.`create_time`, `api_key_secret`.`retire_time`, `api_key_secret`.`last_used_time`, `api_key_secret`.`scheme`, `api_key_secret`.`retired` FROM `api_key_secret` WHERE `api_key_secret`.`key_id` IN (?, ?);

-- keys, next page
SELECT `api_key`.`create_revision`, `api_key`.`id` FROM `api_key` WHERE `create_revision` <= ? AND (`create_revision`, `api_key`.`id`) < (?, ?) ORDER BY `api_key`.`create_revision` DESC, `api_key`.`id` DESC LIMIT ? OFFSET ?;
SELECT `api_key`.`id`, `api_key`.`display_name`, `api_key`.`create_revision`, `api_key`.`last_used_time`, `api_key`.`expire_time`, CAST(OCTET_LENGTH(api_key.display_name) + OCTET_LENGTH(api_key.description) + OCTET_LENGTH(api_key.scopes) + OCTET_LENGTH(api_key.projects) + OCTET_LENGTH(api_key.networks) + OCTET_LENGTH(api_key.labels) AS SIGNED) AS `bytes` FROM `api_key` WHERE `api_key`.`revoke_time` IS NULL AND `api_key`.`disabled` = ? AND (`api_key`.`expire_time` IS NULL OR `api_key`.`expire_time` > ?) AND `create_revision` <= ? AND (`create_revision`, `api_key`.`id`) < (?, ?) ORDER BY `create_revision` DESC, `api_key`.`id` DESC LIMIT ?;
SELECT `api_key`.`id`, `api_key`.`account`, `api_key`.`display_name`, `api_key`.`description`, `api_key`.`scopes`, `api_key`.`all_projects`, `api_key`.`projects`, `api_key`.`networks`, `api_key`.`labels`, `api_key`.`disabled`, `api_key`.`revoke_time`, `api_key`.`revoke_reason`, `api_key`.`expire_time`, `api_key`.`create_time`, `api_key`.`update_time`, `api_key`.`created_by`, `api_key`.`create_revision`, `api_key`.`revision`, `api_key`.`last_used_time`, `api_key`.`use_count`, `api_key`.`created_by_subject` FROM `api_key` WHERE `api_key`.`id` IN (?, ?) AND (`api_key`.`revoke_time` IS NULL AND `api_key`.`disabled` = ? AND (`api_key`.`expire_time` IS NULL OR `api_key`.`expire_time` > ?));
SELECT `api_key_secret`.`key_id`, `api_key_secret`.`version`, `api_key_secret`.`digest`, `api_key_secret`.`secret_version`, `api_key_secret`.`hint`, `api_key_secret`.`sealed`, `api_key_secret`.`create_time`, `api_key_secret`.`retire_time`, `api_key_secret`.`last_used_time`, `api_key_secret`.`scheme`, `api_key_secret`.`retired` FROM `api_key_secret` WHERE `api_key_secret`.`key_id` IN (?, ?);

-- keys of an account, first page
SELECT `api_key`.`create_revision`, `api_key`.`id` FROM `api_key` WHERE `api_key`.`account` = ? ORDER BY `api_key`.`create_revision` DESC, `api_key`.`id` DESC LIMIT ? OFFSET ?;
SELECT `api_key`.`id`, `api_key`.`display_name`, `api_key`.`create_revision`, `api_key`.`last_used_time`, `api_key`.`expire_time`, CAST(OCTET_LENGTH(api_key.display_name) + OCTET_LENGTH(api_key.description) + OCTET_LENGTH(api_key.scopes) + OCTET_LENGTH(api_key.projects) + OCTET_LENGTH(api_key.networks) + OCTET_LENGTH(api_key.labels) AS SIGNED) AS `bytes` FROM `api_key` WHERE `api_key`.`revoke_time` IS NULL AND `api_key`.`disabled` = ? AND (`api_key`.`expire_time` IS NULL OR `api_key`.`expire_time` > ?) AND `api_key`.`account` IN (?) ORDER BY `create_revision` DESC, `api_key`.`id` DESC LIMIT ?;
SELECT `api_key`.`id`, `api_key`.`account`, `api_key`.`display_name`, `api_key`.`description`, `api_key`.`scopes`, `api_key`.`all_projects`, `api_key`.`projects`, `api_key`.`networks`, `api_key`.`labels`, `api_key`.`disabled`, `api_key`.`revoke_time`, `api_key`.`revoke_reason`, `api_key`.`expire_time`, `api_key`.`create_time`, `api_key`.`update_time`, `api_key`.`created_by`, `api_key`.`create_revision`, `api_key`.`revision`, `api_key`.`last_used_time`, `api_key`.`use_count`, `api_key`.`created_by_subject` FROM `api_key` WHERE `api_key`.`id` IN (?, ?) AND (`api_key`.`revoke_time` IS NULL AND `api_key`.`disabled` = ? AND (`api_key`.`expire_time` IS NULL OR `api_key`.`expire_time` > ?));
SELECT `api_key_secret`.`key_id`, `api_key_secret`.`version`, `api_key_secret`.`digest`, `api_key_secret`.`secret_version`, `api_key_secret`.`hint`, `api_key_secret`.`sealed`, `api_key_secret`.`create_time`, `api_key_secret`.`retire_time`, `api_key_secret`.`last_used_time`, `api_key_secret`.`scheme`, `api_key_secret`.`retired` FROM `api_key_secret` WHERE `api_key_secret`.`key_id` IN (?, ?);

-- keys of an account, next page
SELECT `api_key`.`create_revision`, `api_key`.`id` FROM `api_key` WHERE `create_revision` <= ? AND (`create_revision`, `api_key`.`id`) < (?, ?) AND `api_key`.`account` = ? ORDER BY `api_key`.`create_revision` DESC, `api_key`.`id` DESC LIMIT ? OFFSET ?;
SELECT `api_key`.`id`, `api_key`.`display_name`, `api_key`.`create_revision`, `api_key`.`last_used_time`, `api_key`.`expire_time`, CAST(OCTET_LENGTH(api_key.display_name) + OCTET_LENGTH(api_key.description) + OCTET_LENGTH(api_key.scopes) + OCTET_LENGTH(api_key.projects) + OCTET_LENGTH(api_key.networks) + OCTET_LENGTH(api_key.labels) AS SIGNED) AS `bytes` FROM `api_key` WHERE `api_key`.`revoke_time` IS NULL AND `api_key`.`disabled` = ? AND (`api_key`.`expire_time` IS NULL OR `api_key`.`expire_time` > ?) AND `api_key`.`account` IN (?) AND `create_revision` <= ? AND (`create_revision`, `api_key`.`id`) < (?, ?) ORDER BY `create_revision` DESC, `api_key`.`id` DESC LIMIT ?;
SELECT `api_key`.`id`, `api_key`.`account`, `api_key`.`display_name`, `api_key`.`description`, `api_key`.`scopes`, `api_key`.`all_projects`, `api_key`.`projects`, `api_key`.`networks`, `api_key`.`labels`, `api_key`.`disabled`, `api_key`.`revoke_time`, `api_key`.`revoke_reason`, `api_key`.`expire_time`, `api_key`.`create_time`, `api_key`.`update_time`, `api_key`.`created_by`, `api_key`.`create_revision`, `api_key`.`revision`, `api_key`.`last_used_time`, `api_key`.`use_count`, `api_key`.`created_by_subject` FROM `api_key` WHERE `api_key`.`id` IN (?, ?) AND (`api_key`.`revoke_time` IS NULL AND `api_key`.`disabled` = ? AND (`api_key`.`expire_time` IS NULL OR `api_key`.`expire_time` > ?));
SELECT `api_key_secret`.`key_id`, `api_key_secret`.`version`, `api_key_secret`.`digest`, `api_key_secret`.`secret_version`, `api_key_secret`.`hint`, `api_key_secret`.`sealed`, `api_key_secret`.`create_time`, `api_key_secret`.`retire_time`, `api_key_secret`.`last_used_time`, `api_key_secret`.`scheme`, `api_key_secret`.`retired` FROM `api_key_secret` WHERE `api_key_secret`.`key_id` IN (?, ?);

-- keys with a text, first page
SELECT `api_key`.`create_revision`, `api_key`.`id` FROM `api_key` WHERE `api_key`.`account` = ? ORDER BY `api_key`.`create_revision` DESC, `api_key`.`id` DESC LIMIT ? OFFSET ?;
SELECT `api_key`.`id`, `api_key`.`display_name`, `api_key`.`create_revision`, `api_key`.`last_used_time`, `api_key`.`expire_time`, CAST(OCTET_LENGTH(api_key.display_name) + OCTET_LENGTH(api_key.description) + OCTET_LENGTH(api_key.scopes) + OCTET_LENGTH(api_key.projects) + OCTET_LENGTH(api_key.networks) + OCTET_LENGTH(api_key.labels) AS SIGNED) AS `bytes` FROM `api_key` WHERE TRUE AND `api_key`.`account` IN (?) AND (INSTR(LOWER(`api_key`.`display_name`), LOWER(?)) > ? OR INSTR(LOWER(`api_key`.`id`), LOWER(?)) > ? OR EXISTS(SELECT `api_key_secret`.`key_id` FROM `api_key_secret` WHERE `key_id` = `api_key`.`id` AND INSTR(LOWER(`api_key_secret`.`hint`), LOWER(?)) > ?)) AND `create_revision` >= ? AND (`create_revision`, `api_key`.`id`) >= (?, ?) ORDER BY `create_revision` DESC, `api_key`.`id` DESC LIMIT ?;
SELECT `api_key`.`id`, `api_key`.`account`, `api_key`.`display_name`, `api_key`.`description`, `api_key`.`scopes`, `api_key`.`all_projects`, `api_key`.`projects`, `api_key`.`networks`, `api_key`.`labels`, `api_key`.`disabled`, `api_key`.`revoke_time`, `api_key`.`revoke_reason`, `api_key`.`expire_time`, `api_key`.`create_time`, `api_key`.`update_time`, `api_key`.`created_by`, `api_key`.`create_revision`, `api_key`.`revision`, `api_key`.`last_used_time`, `api_key`.`use_count`, `api_key`.`created_by_subject` FROM `api_key` WHERE `api_key`.`id` IN (?, ?);
SELECT `api_key_secret`.`key_id`, `api_key_secret`.`version`, `api_key_secret`.`digest`, `api_key_secret`.`secret_version`, `api_key_secret`.`hint`, `api_key_secret`.`sealed`, `api_key_secret`.`create_time`, `api_key_secret`.`retire_time`, `api_key_secret`.`last_used_time`, `api_key_secret`.`scheme`, `api_key_secret`.`retired` FROM `api_key_secret` WHERE `api_key_secret`.`key_id` IN (?, ?);

-- keys with a text, next page
SELECT `api_key`.`create_revision`, `api_key`.`id` FROM `api_key` WHERE `create_revision` <= ? AND (`create_revision`, `api_key`.`id`) < (?, ?) AND `api_key`.`account` = ? ORDER BY `api_key`.`create_revision` DESC, `api_key`.`id` DESC LIMIT ? OFFSET ?;
SELECT `api_key`.`id`, `api_key`.`display_name`, `api_key`.`create_revision`, `api_key`.`last_used_time`, `api_key`.`expire_time`, CAST(OCTET_LENGTH(api_key.display_name) + OCTET_LENGTH(api_key.description) + OCTET_LENGTH(api_key.scopes) + OCTET_LENGTH(api_key.projects) + OCTET_LENGTH(api_key.networks) + OCTET_LENGTH(api_key.labels) AS SIGNED) AS `bytes` FROM `api_key` WHERE TRUE AND `api_key`.`account` IN (?) AND (INSTR(LOWER(`api_key`.`display_name`), LOWER(?)) > ? OR INSTR(LOWER(`api_key`.`id`), LOWER(?)) > ? OR EXISTS(SELECT `api_key_secret`.`key_id` FROM `api_key_secret` WHERE `key_id` = `api_key`.`id` AND INSTR(LOWER(`api_key_secret`.`hint`), LOWER(?)) > ?)) AND `create_revision` <= ? AND (`create_revision`, `api_key`.`id`) < (?, ?) AND `create_revision` >= ? AND (`create_revision`, `api_key`.`id`) >= (?, ?) ORDER BY `create_revision` DESC, `api_key`.`id` DESC LIMIT ?;
SELECT `api_key`.`id`, `api_key`.`account`, `api_key`.`display_name`, `api_key`.`description`, `api_key`.`scopes`, `api_key`.`all_projects`, `api_key`.`projects`, `api_key`.`networks`, `api_key`.`labels`, `api_key`.`disabled`, `api_key`.`revoke_time`, `api_key`.`revoke_reason`, `api_key`.`expire_time`, `api_key`.`create_time`, `api_key`.`update_time`, `api_key`.`created_by`, `api_key`.`create_revision`, `api_key`.`revision`, `api_key`.`last_used_time`, `api_key`.`use_count`, `api_key`.`created_by_subject` FROM `api_key` WHERE `api_key`.`id` IN (?, ?);
SELECT `api_key_secret`.`key_id`, `api_key_secret`.`version`, `api_key_secret`.`digest`, `api_key_secret`.`secret_version`, `api_key_secret`.`hint`, `api_key_secret`.`sealed`, `api_key_secret`.`create_time`, `api_key_secret`.`retire_time`, `api_key_secret`.`last_used_time`, `api_key_secret`.`scheme`, `api_key_secret`.`retired` FROM `api_key_secret` WHERE `api_key_secret`.`key_id` IN (?, ?);

-- few keys in a state
SELECT `api_key`.`create_revision`, `api_key`.`id` FROM `api_key` WHERE `api_key`.`account` = ? ORDER BY `api_key`.`create_revision` DESC, `api_key`.`id` DESC LIMIT ? OFFSET ?;
SELECT `api_key`.`id` FROM `api_key` WHERE `api_key`.`account` = ? AND `api_key`.`revoke_time` IS NOT NULL AND `api_key`.`revoke_time` >= ? LIMIT ?;

-- accounts, first page
SELECT `account`.`id`, `account`.`display_name`, `account`.`suspended`, `account`.`policy`, `account`.`create_time`, `account`.`update_time`, `account`.`create_revision`, `account`.`revision` FROM `account` ORDER BY `account`.`create_revision` DESC, `account`.`id` DESC LIMIT ?;

-- accounts, next page
SELECT `account`.`id`, `account`.`display_name`, `account`.`suspended`, `account`.`policy`, `account`.`create_time`, `account`.`update_time`, `account`.`create_revision`, `account`.`revision` FROM `account` WHERE `account`.`create_revision` <= ? AND (`account`.`create_revision` < ? OR `account`.`id` < ?) ORDER BY `account`.`create_revision` DESC, `account`.`id` DESC LIMIT ?;

-- events
SELECT `audit_event`.`revision`, CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS SIGNED) AS `bytes` FROM `audit_event` WHERE `audit_event`.`revision` >= ? ORDER BY `audit_event`.`revision` ASC LIMIT ?;
SELECT `audit_event`.`revision`, `audit_event`.`event_time`, `audit_event`.`actor`, `audit_event`.`action`, `audit_event`.`account`, `audit_event`.`key_id`, `audit_event`.`request_id`, `audit_event`.`request_digest`, `audit_event`.`before_json`, `audit_event`.`after_json`, `audit_event`.`secret_version`, `audit_event`.`hash`, `audit_event`.`subject` FROM `audit_event` WHERE `audit_event`.`revision` IN (?, ?) ORDER BY `audit_event`.`revision` ASC;

-- events of an account
SELECT `audit_event`.`revision`, CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS SIGNED) AS `bytes` FROM `audit_event` WHERE `audit_event`.`revision` >= ? AND `audit_event`.`account` IN (?) ORDER BY `audit_event`.`revision` ASC LIMIT ?;
SELECT `audit_event`.`revision`, `audit_event`.`event_time`, `audit_event`.`actor`, `audit_event`.`action`, `audit_event`.`account`, `audit_event`.`key_id`, `audit_event`.`request_id`, `audit_event`.`request_digest`, `audit_event`.`before_json`, `audit_event`.`after_json`, `audit_event`.`secret_version`, `audit_event`.`hash`, `audit_event`.`subject` FROM `audit_event` WHERE `audit_event`.`revision` IN (?, ?) ORDER BY `audit_event`.`revision` ASC;

-- events of an account since a time
SELECT `audit_event`.`revision`, CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS SIGNED) AS `bytes` FROM `audit_event` WHERE `audit_event`.`revision` >= ? AND `audit_event`.`account` IN (?) AND `audit_event`.`event_time` + ? >= ? ORDER BY `audit_event`.`revision` ASC LIMIT ?;
SELECT `audit_event`.`revision`, `audit_event`.`event_time`, `audit_event`.`actor`, `audit_event`.`action`, `audit_event`.`account`, `audit_event`.`key_id`, `audit_event`.`request_id`, `audit_event`.`request_digest`, `audit_event`.`before_json`, `audit_event`.`after_json`, `audit_event`.`secret_version`, `audit_event`.`hash`, `audit_event`.`subject` FROM `audit_event` WHERE `audit_event`.`revision` IN (?, ?) ORDER BY `audit_event`.`revision` ASC;

-- events of a key
SELECT `audit_event`.`revision`, CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS SIGNED) AS `bytes` FROM `audit_event` WHERE `audit_event`.`revision` >= ? AND `audit_event`.`key_id` = ? ORDER BY `audit_event`.`revision` ASC LIMIT ?;
SELECT `audit_event`.`revision`, `audit_event`.`event_time`, `audit_event`.`actor`, `audit_event`.`action`, `audit_event`.`account`, `audit_event`.`key_id`, `audit_event`.`request_id`, `audit_event`.`request_digest`, `audit_event`.`before_json`, `audit_event`.`after_json`, `audit_event`.`secret_version`, `audit_event`.`hash`, `audit_event`.`subject` FROM `audit_event` WHERE `audit_event`.`revision` IN (?, ?) ORDER BY `audit_event`.`revision` ASC;

-- events of an actor
SELECT `audit_event`.`revision`, CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS SIGNED) AS `bytes` FROM `audit_event` WHERE `audit_event`.`revision` >= ? AND `audit_event`.`actor` = ? ORDER BY `audit_event`.`revision` ASC LIMIT ?;
SELECT `audit_event`.`revision`, `audit_event`.`event_time`, `audit_event`.`actor`, `audit_event`.`action`, `audit_event`.`account`, `audit_event`.`key_id`, `audit_event`.`request_id`, `audit_event`.`request_digest`, `audit_event`.`before_json`, `audit_event`.`after_json`, `audit_event`.`secret_version`, `audit_event`.`hash`, `audit_event`.`subject` FROM `audit_event` WHERE `audit_event`.`revision` IN (?, ?) ORDER BY `audit_event`.`revision` ASC;

-- events of a time
SELECT MIN(`revision` + ?) AS `first`, MAX(`revision` + ?) AS `last` FROM `audit_event` WHERE `audit_event`.`event_time` >= ? LIMIT ?;
SELECT `audit_event`.`revision`, CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS SIGNED) AS `bytes` FROM `audit_event` WHERE `audit_event`.`revision` >= ? AND `audit_event`.`event_time` >= ? ORDER BY `audit_event`.`revision` ASC LIMIT ?;
SELECT `audit_event`.`revision`, `audit_event`.`event_time`, `audit_event`.`actor`, `audit_event`.`action`, `audit_event`.`account`, `audit_event`.`key_id`, `audit_event`.`request_id`, `audit_event`.`request_digest`, `audit_event`.`before_json`, `audit_event`.`after_json`, `audit_event`.`secret_version`, `audit_event`.`hash`, `audit_event`.`subject` FROM `audit_event` WHERE `audit_event`.`revision` IN (?, ?) ORDER BY `audit_event`.`revision` ASC;

-- events of a window
SELECT MIN(`revision` + ?) AS `first`, MAX(`revision` + ?) AS `last` FROM `audit_event` WHERE `audit_event`.`event_time` >= ? AND `audit_event`.`event_time` < ? LIMIT ?;
SELECT `audit_event`.`revision`, CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS SIGNED) AS `bytes` FROM `audit_event` WHERE `audit_event`.`revision` >= ? AND `audit_event`.`revision` <= ? AND `audit_event`.`event_time` >= ? AND `audit_event`.`event_time` < ? ORDER BY `audit_event`.`revision` ASC LIMIT ?;
SELECT `audit_event`.`revision`, `audit_event`.`event_time`, `audit_event`.`actor`, `audit_event`.`action`, `audit_event`.`account`, `audit_event`.`key_id`, `audit_event`.`request_id`, `audit_event`.`request_digest`, `audit_event`.`before_json`, `audit_event`.`after_json`, `audit_event`.`secret_version`, `audit_event`.`hash`, `audit_event`.`subject` FROM `audit_event` WHERE `audit_event`.`revision` IN (?, ?) ORDER BY `audit_event`.`revision` ASC;

-- newest events
SELECT `audit_event`.`revision`, CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS SIGNED) AS `bytes` FROM `audit_event` WHERE `audit_event`.`revision` <= ? ORDER BY `audit_event`.`revision` DESC LIMIT ?;
SELECT `audit_event`.`revision`, `audit_event`.`event_time`, `audit_event`.`actor`, `audit_event`.`action`, `audit_event`.`account`, `audit_event`.`key_id`, `audit_event`.`request_id`, `audit_event`.`request_digest`, `audit_event`.`before_json`, `audit_event`.`after_json`, `audit_event`.`secret_version`, `audit_event`.`hash`, `audit_event`.`subject` FROM `audit_event` WHERE `audit_event`.`revision` IN (?, ?) ORDER BY `audit_event`.`revision` DESC;

-- newest events of a key in an account
SELECT `audit_event`.`revision`, CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS SIGNED) AS `bytes` FROM `audit_event` WHERE `audit_event`.`revision` <= ? AND COALESCE(`account`, ?) IN (?) AND `audit_event`.`key_id` = ? ORDER BY `audit_event`.`revision` DESC LIMIT ?;
SELECT `audit_event`.`revision`, `audit_event`.`event_time`, `audit_event`.`actor`, `audit_event`.`action`, `audit_event`.`account`, `audit_event`.`key_id`, `audit_event`.`request_id`, `audit_event`.`request_digest`, `audit_event`.`before_json`, `audit_event`.`after_json`, `audit_event`.`secret_version`, `audit_event`.`hash`, `audit_event`.`subject` FROM `audit_event` WHERE `audit_event`.`revision` IN (?, ?) ORDER BY `audit_event`.`revision` DESC;

-- newest events of a window
SELECT MIN(`revision` + ?) AS `first`, MAX(`revision` + ?) AS `last` FROM `audit_event` WHERE `audit_event`.`event_time` >= ? AND `audit_event`.`event_time` < ? LIMIT ?;
SELECT `audit_event`.`revision`, CAST(COALESCE(OCTET_LENGTH(audit_event.before_json), 0) + COALESCE(OCTET_LENGTH(audit_event.after_json), 0) AS SIGNED) AS `bytes` FROM `audit_event` WHERE `audit_event`.`revision` >= ? AND `audit_event`.`revision` <= ? AND `audit_event`.`event_time` >= ? AND `audit_event`.`event_time` < ? ORDER BY `audit_event`.`revision` DESC LIMIT ?;
SELECT `audit_event`.`revision`, `audit_event`.`event_time`, `audit_event`.`actor`, `audit_event`.`action`, `audit_event`.`account`, `audit_event`.`key_id`, `audit_event`.`request_id`, `audit_event`.`request_digest`, `audit_event`.`before_json`, `audit_event`.`after_json`, `audit_event`.`secret_version`, `audit_event`.`hash`, `audit_event`.`subject` FROM `audit_event` WHERE `audit_event`.`revision` IN (?, ?) ORDER BY `audit_event`.`revision` DESC;

-- used keys, locked
SELECT `api_key`.`id` FROM `api_key` WHERE `api_key`.`id` IN (?) ORDER BY `api_key`.`id` ASC FOR UPDATE;

-- usage
UPDATE `api_key` SET `use_count` = (CASE WHEN (`api_key`.`id` = ? AND `api_key`.`create_revision` = ?) THEN `use_count` + ? ELSE `use_count` END), `last_used_time` = (CASE WHEN (`api_key`.`id` = ? AND `api_key`.`create_revision` = ? AND (`last_used_time` IS NULL OR `last_used_time` < ?)) THEN ? ELSE `last_used_time` END) WHERE `api_key`.`id` IN (?);
UPDATE `api_key_secret` SET `last_used_time` = (CASE WHEN (`api_key_secret`.`digest` = ? AND `api_key_secret`.`key_id` = ? AND (`last_used_time` IS NULL OR `last_used_time` < ?)) THEN ? ELSE `last_used_time` END) WHERE `api_key_secret`.`digest` IN (?);

-- registry
SELECT `authority`.`revision` AS `head_revision`, (SELECT `hash` FROM `audit_event` WHERE `revision` = ?) AS `requested_hash`, `replica`.`id` AS `id`, `replica`.`applied_revision` AS `applied_revision`, `replica`.`applied_hash` AS `applied_hash`, `replica`.`nonce` AS `nonce`, `replica`.`build` AS `build`, `replica`.`address` AS `address`, `replica`.`join_time` AS `join_time`, `replica`.`seen_time` AS `seen_time`, `audit_event`.`hash` FROM `authority` LEFT JOIN `replica` ON 1 = 1 LEFT JOIN `audit_event` ON `audit_event`.`revision` = `replica`.`applied_revision` WHERE `authority`.`id` = ?;

-- confirm
UPDATE `replica` SET `applied_revision` = ?, `applied_hash` = ?, `nonce` = ?, `seen_time` = CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED) WHERE `replica`.`id` = ?;

-- fence
DELETE FROM `replica` WHERE `replica`.`id` = ? AND `replica`.`nonce` = ?;
