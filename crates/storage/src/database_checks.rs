//! Checks of server settings that weaken durability or consistency, at the start of a replica.
//!
//! The authority acknowledges a change when the database has acknowledged its commit, so its guarantees depend on the
//! database. A setting with which a read may miss an acknowledged commit is rejected, because verdicts would be wrong.
//! A setting with which a crash may lose an acknowledged commit causes a warning, because an operator may accept that
//! risk in a test. `docs/operations.md` lists each setting.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, Statement};

use crate::error::StorageError;
use crate::store::{StorageKind, Store};
use crate::timeout::bounded;

/// An unsafe server setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("database setting {name} = {value}: {consequence}; {advice}")]
pub struct UnsafeSetting {
    /// Name of the setting.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// What can happen with this value.
    pub consequence: &'static str,
    /// What the operator should do.
    pub advice: &'static str,
    /// Whether the replica must not start.
    pub is_refused: bool,
}

/// A rule that defines unsafe values of a setting.
struct Rule {
    name: &'static str,
    is_unsafe: fn(value: &str, all: &Settings) -> bool,
    consequence: &'static str,
    advice: &'static str,
    is_refused: bool,
    /// Whether every supported version has the setting. If it is missing, the check would prove nothing.
    always_exists: bool,
}

type Settings = HashMap<String, String>;

const LOSES_COMMITS: &str = "a crash of the database server may lose acknowledged changes";

const POSTGRES_RULES: [Rule; 2] = [
    Rule {
        name: "fsync",
        is_unsafe: |value, _| value == "off",
        consequence: LOSES_COMMITS,
        advice: "set it to on",
        is_refused: false,
        always_exists: true,
    },
    Rule {
        name: "full_page_writes",
        is_unsafe: |value, _| value == "off",
        consequence: "a crash of the machine may corrupt the database",
        advice: "set it to on, unless the file system writes whole pages atomically",
        is_refused: false,
        always_exists: true,
    },
];

const MYSQL_RULES: [Rule; 7] = [
    Rule {
        name: "innodb_flush_log_at_trx_commit",
        is_unsafe: |value, _| value != "1",
        consequence: LOSES_COMMITS,
        advice: "set it to 1",
        is_refused: false,
        always_exists: true,
    },
    Rule {
        name: "sync_binlog",
        is_unsafe: |value, all| value != "1" && is_on(all, "log_bin"),
        consequence: "after a crash, replicas of the database and its primary may differ",
        advice: "set it to 1",
        is_refused: false,
        always_exists: false,
    },
    Rule {
        name: "rpl_semi_sync_master_timeout",
        is_unsafe: |value, all| is_on(all, "rpl_semi_sync_master_enabled") && is_short(value),
        consequence: FALLS_BACK,
        advice: RAISE_TIMEOUT,
        is_refused: false,
        always_exists: false,
    },
    Rule {
        name: "rpl_semi_sync_source_timeout",
        is_unsafe: |value, all| is_on(all, "rpl_semi_sync_source_enabled") && is_short(value),
        consequence: FALLS_BACK,
        advice: RAISE_TIMEOUT,
        is_refused: false,
        always_exists: false,
    },
    Rule {
        name: "wsrep_on",
        is_unsafe: |value, _| value.eq_ignore_ascii_case("on") || value == "1",
        consequence: "on a Galera cluster a node may read without a change that another node has acknowledged",
        advice: "use a single primary with ordinary or semi-synchronous replication",
        is_refused: true,
        always_exists: false,
    },
    Rule {
        name: "group_replication_consistency",
        is_unsafe: |value, all| is_grouped(all) && value.eq_ignore_ascii_case("eventual"),
        consequence: "after a failover the new primary may read without a change that the old one has acknowledged",
        advice: "set it to BEFORE_ON_PRIMARY_FAILOVER or stronger",
        is_refused: true,
        always_exists: false,
    },
    Rule {
        name: "group_replication_single_primary_mode",
        is_unsafe: |value, all| is_grouped(all) && !(value.eq_ignore_ascii_case("on") || value == "1"),
        consequence: "several servers accept changes at once",
        advice: "set it to ON",
        is_refused: true,
        always_exists: false,
    },
];

const FALLS_BACK: &str =
    "when the timeout passes, commits are acknowledged without a standby, and a failover may lose them";
const RAISE_TIMEOUT: &str = "set it to a day or longer (86400000 ms), so that commits wait for a standby instead";
const DAY_MS: u64 = 86_400_000;

fn is_on(all: &Settings, name: &str) -> bool {
    all.get(name).is_some_and(|value| value.eq_ignore_ascii_case("on") || value == "1")
}

fn is_short(timeout_ms: &str) -> bool {
    timeout_ms.parse::<u64>().is_ok_and(|timeout| timeout < DAY_MS)
}

/// Whether the server is a member of a replication group. The plugin can be loaded without a group.
fn is_grouped(all: &Settings) -> bool {
    all.get("group_replication_group_name").is_some_and(|name| !name.is_empty())
}

impl Store {
    /// The unsafe settings of the database server. None for SQLite, whose settings the authority controls.
    ///
    /// # Errors
    /// If the database did not answer, or its answer lacks a setting that every version has.
    pub async fn unsafe_settings(&self) -> Result<Vec<UnsafeSetting>, StorageError> {
        let (sql, table, rules): (_, _, &[Rule]) = match self.kind() {
            StorageKind::Sqlite => return Ok(Vec::new()),
            StorageKind::Postgres => ("SELECT name, setting AS value FROM pg_settings", "pg_settings", &POSTGRES_RULES),
            StorageKind::MySql | StorageKind::MariaDb => ("SHOW GLOBAL VARIABLES", "GLOBAL VARIABLES", &MYSQL_RULES),
        };
        let rows = bounded(async {
            let statement = Statement::from_string(self.db.get_database_backend(), sql);
            Ok(self.db.query_all_raw(statement).await?)
        });
        let mut settings = Settings::new();
        for row in rows.await? {
            // No rule applies to a setting without a value.
            if let Some(value) = row.try_get_by_index(1)? {
                settings.insert(row.try_get_by_index(0)?, value);
            }
        }
        check(table, rules, &settings)
    }
}

fn check(table: &'static str, rules: &[Rule], settings: &Settings) -> Result<Vec<UnsafeSetting>, StorageError> {
    if let Some(rule) = rules.iter().find(|rule| rule.always_exists && !settings.contains_key(rule.name)) {
        return Err(StorageError::corrupt(table, "value", rule.name));
    }
    let broken = rules.iter().filter_map(|rule| {
        let value = settings.get(rule.name).filter(|value| (rule.is_unsafe)(value, settings))?;
        let Rule { name, consequence, advice, is_refused, .. } = *rule;
        Some(UnsafeSetting { name, value: value.clone(), consequence, advice, is_refused })
    });
    Ok(broken.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rules: &[Rule], settings: &[(&str, &str)]) -> Vec<(&'static str, bool)> {
        let settings = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let unsafe_settings = check("settings", rules, &settings).unwrap();
        unsafe_settings.into_iter().map(|setting| (setting.name, setting.is_refused)).collect()
    }

    #[test]
    fn a_setting_that_every_version_has_and_the_server_does_not_show_is_an_error() {
        for (rules, name) in [(&POSTGRES_RULES[..], "fsync"), (&MYSQL_RULES[..], "innodb_flush_log_at_trx_commit")] {
            let error = check("settings", rules, &Settings::new()).unwrap_err();
            assert!(matches!(&error, StorageError::Corrupt { id, .. } if id == name), "{error}");
        }
    }

    #[test]
    fn safe_settings_are_accepted() {
        assert_eq!(found(&POSTGRES_RULES, &[("fsync", "on"), ("full_page_writes", "on")]), []);
        let safe = [
            ("innodb_flush_log_at_trx_commit", "1"),
            ("log_bin", "OFF"),
            ("sync_binlog", "0"),
            ("wsrep_on", "OFF"),
            ("rpl_semi_sync_master_enabled", "OFF"),
            ("rpl_semi_sync_master_timeout", "10000"),
            ("group_replication_group_name", ""),
            ("group_replication_consistency", "EVENTUAL"),
        ];
        assert_eq!(found(&MYSQL_RULES, &safe), []);
    }

    #[test]
    fn each_unsafe_setting_is_reported_and_some_are_rejected() {
        assert_eq!(
            found(&POSTGRES_RULES, &[("fsync", "off"), ("full_page_writes", "off")]),
            [("fsync", false), ("full_page_writes", false)]
        );
        let unsafe_all = [
            ("innodb_flush_log_at_trx_commit", "2"),
            ("log_bin", "ON"),
            ("sync_binlog", "0"),
            ("wsrep_on", "ON"),
            ("rpl_semi_sync_source_enabled", "ON"),
            ("rpl_semi_sync_source_timeout", "10000"),
            ("group_replication_group_name", "0d9e"),
            ("group_replication_consistency", "EVENTUAL"),
            ("group_replication_single_primary_mode", "OFF"),
        ];
        let names = [
            ("innodb_flush_log_at_trx_commit", false),
            ("sync_binlog", false),
            ("rpl_semi_sync_source_timeout", false),
            ("wsrep_on", true),
            ("group_replication_consistency", true),
            ("group_replication_single_primary_mode", true),
        ];
        assert_eq!(found(&MYSQL_RULES, &unsafe_all), names);
    }
}
