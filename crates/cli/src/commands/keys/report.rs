//! `keyctl keys report`.

use std::collections::HashSet;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use key_authority_proto::v1::{Account, GetAccountRequest, Key, KeyState, ListKeysRequest, ProjectRule};
use serde_json::json;

use super::Session;
use super::list::for_each_page;
use crate::client::Api;
use crate::commands::accounts;
use crate::console::{Format, note, print};
use crate::errors::{Error, Exit};
use crate::relative::counted;
use crate::table::{Table, Tone, plain, toned};
use crate::views::when;
use crate::{fields, json};

/// Lists active keys that need attention; exit code 1 if there are any
///
/// A key needs attention if it is not used, never expires, covers more than it has to, or expires soon. Only active
/// keys are checked, by the clock of this machine.
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Account whose keys to check; default: all accounts that the caller may access
    #[arg(default_value = "", hide_default_value = true)]
    account: String,
    /// Time without use after which a key is reported; for a key that was never used, since its creation
    #[arg(long, value_name = "LENGTH", default_value = "90d", value_parser = fields::length)]
    unused_for: SignedDuration,
    /// Time before its expiry from which a key is reported
    #[arg(long, value_name = "LENGTH", default_value = "14d", value_parser = fields::length)]
    expiring_within: SignedDuration,
    /// Report only this finding; may be repeated
    #[arg(long, value_enum, value_name = "FINDING")]
    only: Vec<Finding>,
}

/// Why a key needs attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Finding {
    /// No token of the key was ever valid for a call
    NeverUsed,
    /// The last use is long ago
    Unused,
    /// The key never expires
    NoExpiry,
    /// The key covers all projects although it could list them, or has a scope that ends in *
    OverBroad,
    /// The key expires soon
    ExpiringSoon,
}

impl Finding {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// An active key with its findings.
type Found = (Key, Vec<Finding>);

impl Report {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let without_projects = self.accounts_without_projects(session).await?;
        let request = ListKeysRequest {
            account: self.account.clone(),
            states: vec![KeyState::Active.into()],
            ..ListKeysRequest::default()
        };
        let (mut checked, mut found) = (0, Vec::<Found>::new());
        for_each_page(session, request, |keys| {
            checked += keys.len() as u64;
            let judged = keys.into_iter().map(|key| {
                let may_list = !without_projects.contains(&key.account);
                let findings = self.findings(&key, may_list, session.now);
                (key, findings)
            });
            found.extend(judged.filter(|(_, findings)| !findings.is_empty()));
        })
        .await?;
        match session.console.format {
            Format::Json => print(&document(checked, &found)?)?,
            Format::Table | Format::Token if found.is_empty() => {}
            Format::Table | Format::Token => session.console.table(self.table(&found, session.now))?,
        }
        let active = counted(checked, "active key");
        note(&match found.len() {
            0 => format!("{active} checked; none needs attention"),
            1 => format!("{active} checked; 1 needs attention"),
            count => format!("{active} checked; {count} need attention"),
        });
        Ok(if found.is_empty() { Exit::Done } else { Exit::No })
    }

    /// The accounts in which every key covers all projects. A caller that may not read accounts gets none.
    async fn accounts_without_projects(&self, session: &Session) -> Result<HashSet<String>, Error> {
        let accounts = if self.account.is_empty() {
            accounts::list::all(session).await
        } else {
            let request = GetAccountRequest { account: self.account.clone() };
            let rpc = |mut api: Api, request| async move { api.get_account(request).await };
            session.client.ask(request, rpc).await.map(|account| vec![account])
        };
        match accounts {
            Ok(accounts) => {
                let has_rule = |account: &Account| {
                    account.policy.as_ref().is_some_and(|policy| policy.project_rule() == ProjectRule::All)
                };
                Ok(accounts.into_iter().filter(has_rule).map(|account| account.id).collect())
            }
            Err(error) if error.is_denied() => Ok(HashSet::new()),
            Err(error) => Err(error),
        }
    }

    /// The findings about an active key. `may_list` is whether its account lets keys list their projects.
    fn findings(&self, key: &Key, may_list: bool, now: i64) -> Vec<Finding> {
        let is_long_ago = |moment: Option<prost_types::Timestamp>| {
            moment.is_some_and(|moment| now.saturating_sub(moment.seconds) >= self.unused_for.as_secs())
        };
        let covers_all = key.projects.as_ref().is_some_and(|projects| projects.all);
        let is_soon =
            |moment: prost_types::Timestamp| moment.seconds.saturating_sub(now) <= self.expiring_within.as_secs();
        let findings = [
            (Finding::NeverUsed, key.last_used_time.is_none() && is_long_ago(key.create_time)),
            (Finding::Unused, is_long_ago(key.last_used_time)),
            (Finding::NoExpiry, key.expire_time.is_none()),
            (Finding::OverBroad, covers_all && may_list || key.scopes.iter().any(|scope| scope.ends_with('*'))),
            (Finding::ExpiringSoon, key.expire_time.is_some_and(is_soon)),
        ];
        let is_wanted = |finding: &Finding| self.only.is_empty() || self.only.contains(finding);
        findings.into_iter().filter(|(_, is_found)| *is_found).map(|(finding, _)| finding).filter(is_wanted).collect()
    }

    fn table(&self, found: &[Found], now: i64) -> Table {
        let with_account = self.account.is_empty();
        let header = ["ACCOUNT", "KEY", "NAME", "FINDINGS", "LAST USED", "EXPIRES", "CREATED"];
        let mut table = Table::list(if with_account { &header } else { &header[1..] });
        for (key, findings) in found {
            let names: Vec<_> = findings.iter().map(|finding| finding.name()).collect();
            let account = with_account.then(|| plain(&key.account));
            let cells = [
                plain(&key.id),
                plain(&key.display_name),
                toned(names.join(", "), Tone::Caution),
                plain(when(key.last_used_time.as_ref(), now, "never")),
                plain(when(key.expire_time.as_ref(), now, "never")),
                plain(when(key.create_time.as_ref(), now, "")),
            ];
            table.row(account.into_iter().chain(cells).collect());
        }
        table
    }
}

/// The report as JSON.
fn document(checked: u64, found: &[Found]) -> Result<String, Error> {
    let keys = found.iter().map(|(key, findings)| {
        let findings: Vec<_> = findings.iter().map(|finding| finding.name()).collect();
        Ok(json!({ "findings": findings, "key": json::value(key)? }))
    });
    json::pretty(&json!({ "checked": checked, "keys": keys.collect::<Result<Vec<_>, Error>>()? }))
}

#[cfg(test)]
mod tests {
    use key_authority_proto::v1::ProjectAccess;

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const DAY: i64 = 86_400;

    fn at(days: i64) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds: NOW + days * DAY, nanos: 0 }
    }

    /// A key without findings.
    fn key() -> Key {
        Key {
            id: "ci".into(),
            account: "acme".into(),
            projects: Some(ProjectAccess { all: false, only: vec!["shop".into()] }),
            create_time: Some(at(-365)),
            last_used_time: Some(at(-1)),
            expire_time: Some(at(30)),
            ..Key::default()
        }
    }

    fn report(only: Vec<Finding>) -> Report {
        Report {
            account: String::new(),
            unused_for: SignedDuration::from_secs(90 * DAY),
            expiring_within: SignedDuration::from_secs(14 * DAY),
            only,
        }
    }

    #[test]
    fn each_finding_has_its_limit() {
        let all = Some(ProjectAccess { all: true, only: Vec::new() });
        for (key, expected) in [
            (key(), None),
            (Key { last_used_time: None, create_time: Some(at(-89)), ..key() }, None),
            (Key { last_used_time: None, create_time: Some(at(-90)), ..key() }, Some(Finding::NeverUsed)),
            (Key { last_used_time: Some(at(-89)), ..key() }, None),
            (Key { last_used_time: Some(at(-90)), ..key() }, Some(Finding::Unused)),
            (Key { expire_time: None, ..key() }, Some(Finding::NoExpiry)),
            (Key { projects: all, ..key() }, Some(Finding::OverBroad)),
            (Key { scopes: vec!["read".into(), "orders.*".into()], ..key() }, Some(Finding::OverBroad)),
            (Key { expire_time: Some(at(15)), ..key() }, None),
            (Key { expire_time: Some(at(14)), ..key() }, Some(Finding::ExpiringSoon)),
        ] {
            assert_eq!(report(Vec::new()).findings(&key, true, NOW), Vec::from_iter(expected), "{key:?}");
        }
    }

    #[test]
    fn all_projects_are_no_finding_if_the_policy_requires_them() {
        let key = Key { projects: Some(ProjectAccess { all: true, only: Vec::new() }), ..key() };
        assert!(report(Vec::new()).findings(&key, false, NOW).is_empty());
    }

    #[test]
    fn a_report_can_be_limited_to_findings() {
        let key = Key { expire_time: None, last_used_time: Some(at(-100)), ..key() };
        assert_eq!(report(vec![Finding::Unused]).findings(&key, true, NOW), [Finding::Unused]);
        assert_eq!(report(Vec::new()).findings(&key, true, NOW), [Finding::Unused, Finding::NoExpiry]);
    }

    #[test]
    fn the_reference_describes_every_finding() {
        let reference = include_str!("../../../../../docs/keyctl.md");
        for finding in Finding::value_variants() {
            assert!(reference.contains(&format!("| `{}` |", finding.name())), "{finding:?}");
        }
    }
}
