//! Accounts and their policies.

use comfy_table::Cell;
use key_authority_proto::v1::{Account, AccountState, KeyPolicy};

use super::{exactly_when, when, word};
use crate::relative::exact;
use crate::table::{Table, Tone, plain, toned};

/// A list of accounts.
pub(crate) fn list(accounts: &[Account], now: i64) -> Table {
    let mut table = Table::list(&["ACCOUNT", "NAME", "STATE", "PREFIX", "MAX KEYS", "CREATED"]);
    for account in accounts {
        let policy = account.policy.clone().unwrap_or_default();
        table.row(vec![
            plain(&account.id),
            plain(&account.display_name),
            state(account),
            plain(&policy.token_prefix),
            plain(max_keys(&policy)),
            plain(when(account.create_time.as_ref(), now, "")),
        ]);
    }
    table
}

/// All fields of an account.
pub(crate) fn record(account: &Account, now: i64) -> Table {
    let mut table = Table::record();
    table.pair("account", plain(&account.id));
    table.pair("name", plain(&account.display_name));
    table.pair("state", state(account));
    table.pair("created", plain(exactly_when(account.create_time.as_ref(), now)));
    table.pair("changed", plain(exactly_when(account.update_time.as_ref(), now)));
    if let Some(policy) = &account.policy {
        for (name, value) in of_policy(policy) {
            table.pair(name, plain(value));
        }
    }
    table
}

fn state(account: &Account) -> Cell {
    let tone = match account.state() {
        AccountState::Active => Tone::Good,
        AccountState::Suspended => Tone::Bad,
        AccountState::Unspecified => Tone::Plain,
    };
    toned(word("ACCOUNT_STATE_", account.state().as_str_name()), tone)
}

fn max_keys(policy: &KeyPolicy) -> String {
    if policy.max_keys == 0 {
        return "no limit".into();
    }
    let counted = word("COUNTED_STATES_", policy.counted_states().as_str_name());
    if counted == "active" { format!("{} active", policy.max_keys) } else { policy.max_keys.to_string() }
}

/// The fields of a policy that are set.
fn of_policy(policy: &KeyPolicy) -> Vec<(&'static str, String)> {
    let length = |length: &prost_types::Duration| exact(u64::try_from(length.seconds).unwrap_or_default());
    let lifetimes: Vec<_> = policy.lifetimes.iter().map(length).collect();
    let if_true = |is_set: bool| if is_set { "true".to_owned() } else { String::new() };
    vec![
        ("token prefix", policy.token_prefix.clone()),
        ("name pattern", policy.display_name_pattern.clone()),
        ("max keys", max_keys(policy)),
        ("lifetimes", if lifetimes.is_empty() { "any".into() } else { lifetimes.join(", ") }),
        ("default lifetime", policy.default_lifetime.as_ref().map(length).unwrap_or_default()),
        ("may never expire", policy.may_never_expire.map(|may| may.to_string()).unwrap_or_default()),
        (
            "projects",
            match word("PROJECT_RULE_", policy.project_rule().as_str_name()).as_str() {
                "unspecified" => String::new(),
                rule => rule.to_owned(),
            },
        ),
        ("recoverable", policy.recoverable.to_string()),
        ("deletion guard", policy.recently_used_window.as_ref().map(length).unwrap_or_default()),
        ("max overlap", policy.max_overlap.as_ref().map(length).unwrap_or_default()),
        ("caller digests", if_true(policy.caller_digests)),
        ("holder may revoke", if_true(policy.holder_may_revoke)),
        ("holder may renew", if_true(policy.holder_may_renew)),
    ]
}

#[cfg(test)]
mod tests {
    use key_authority_proto::v1::CountedStates;

    use super::*;

    #[test]
    fn a_policy_is_displayed() {
        let policy = KeyPolicy {
            token_prefix: "mko_tkn_".into(),
            max_keys: 10,
            counted_states: CountedStates::Active.into(),
            lifetimes: vec![prost_types::Duration { seconds: 31_536_000, nanos: 0 }],
            ..KeyPolicy::default()
        };
        let account = Account { id: "meko".into(), state: 1, policy: Some(policy), ..Account::default() };
        assert_eq!(
            record(&account, 0).render(false),
            "account       meko\n\
             state         active\n\
             token prefix  mko_tkn_\n\
             max keys      10 active\n\
             lifetimes     365 days\n\
             recoverable   false"
        );
    }
}
