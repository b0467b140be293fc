//! The decision of Verify: one total function, used for the tokens of customers and of callers.

use std::net::IpAddr;

use crate::access::Access;
use crate::id::SYSTEM_ACCOUNT;
use crate::time::Timestamp;

/// The result of Verify. An outage is an error, never a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The token is valid for the question.
    Valid,
    /// The text is not a token.
    Malformed,
    /// No token that the question covers matches.
    Unknown,
    /// The key is disabled.
    Disabled,
    /// The key is revoked.
    Revoked,
    /// The key is expired, or this version of its secret is retired.
    Expired,
    /// The account of the key is suspended.
    AccountSuspended,
    /// The key does not cover the project.
    ProjectDenied,
    /// The key lacks at least one of the scopes.
    ScopeDenied,
    /// The key is not valid from that address.
    NetworkDenied,
}

impl Verdict {
    /// All verdicts, in the order of their declaration.
    pub const ALL: [Self; 10] = [
        Self::Valid,
        Self::Malformed,
        Self::Unknown,
        Self::Disabled,
        Self::Revoked,
        Self::Expired,
        Self::AccountSuspended,
        Self::ProjectDenied,
        Self::ScopeDenied,
        Self::NetworkDenied,
    ];

    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::Malformed => "MALFORMED",
            Self::Unknown => "UNKNOWN",
            Self::Disabled => "DISABLED",
            Self::Revoked => "REVOKED",
            Self::Expired => "EXPIRED",
            Self::AccountSuspended => "ACCOUNT_SUSPENDED",
            Self::ProjectDenied => "PROJECT_DENIED",
            Self::ScopeDenied => "SCOPE_DENIED",
            Self::NetworkDenied => "NETWORK_DENIED",
        }
    }
}

/// The conditions that a token must satisfy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Question<'a> {
    /// The token must belong to this key.
    pub key_id: Option<&'a str>,
    /// The token must belong to a key of this account. A key of account `system` is found only if the question names
    /// `system`: the token of a caller of the authority is not the token of a customer.
    pub account: Option<&'a str>,
    /// The key must cover this project.
    pub project: Option<&'a str>,
    /// The key must have all of these scopes.
    pub scopes: &'a [&'a str],
    /// The key must be valid from this address.
    pub client_ip: Option<IpAddr>,
}

/// The facts about a token's key that the decision needs.
#[derive(Debug, Clone, Copy)]
pub struct KeyFacts<'a> {
    /// ID of the key.
    pub key_id: &'a str,
    /// ID of the account.
    pub account: &'a str,
    /// Whether the account is suspended.
    pub account_suspended: bool,
    /// Whether the key is revoked.
    pub revoked: bool,
    /// Whether the key is disabled.
    pub disabled: bool,
    /// Expiry of the key.
    pub expire_time: Option<Timestamp>,
    /// Retirement of this version of the secret.
    pub retire_time: Option<Timestamp>,
    /// Scopes, projects and networks of the key.
    pub access: &'a Access,
}

/// Decides a question about a token whose digest was looked up. `facts` is None if no key has the digest.
///
/// If the key has another ID, belongs to another account, or belongs to account `system` and the question does not name
/// it, the verdict is [`Verdict::Unknown`]: nothing about the key is disclosed. Otherwise it is the first of these that
/// applies: revoked, disabled, expired, account suspended, project denied, scope denied, network denied, valid.
#[must_use]
pub fn decide(facts: Option<&KeyFacts<'_>>, question: &Question<'_>, now: Timestamp) -> Verdict {
    let Some(key) = facts else { return Verdict::Unknown };
    let is_in_question = question.key_id.is_none_or(|id| id == key.key_id)
        && match question.account {
            Some(account) => account == key.account,
            None => key.account != SYSTEM_ACCOUNT,
        };
    if !is_in_question {
        Verdict::Unknown
    } else if key.revoked {
        Verdict::Revoked
    } else if key.disabled {
        Verdict::Disabled
    } else if now.is_past(key.expire_time) || now.is_past(key.retire_time) {
        Verdict::Expired
    } else if key.account_suspended {
        Verdict::AccountSuspended
    } else if !key.access.projects.covers(question.project) {
        Verdict::ProjectDenied
    } else if key.access.missing_scopes(question.scopes).next().is_some() {
        Verdict::ScopeDenied
    } else if !key.access.admits(question.client_ip) {
        Verdict::NetworkDenied
    } else {
        Verdict::Valid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Network, Project, ProjectAccess, Scope};
    use proptest::prelude::*;
    use std::time::Duration;

    fn access() -> Access {
        Access {
            scopes: [Scope::new("read").unwrap()].into(),
            projects: ProjectAccess::Only([Project::new("p").unwrap()].into()),
            networks: [Network::new("10.0.0.0/8").unwrap()].into(),
        }
    }

    fn facts(access: &Access) -> KeyFacts<'_> {
        KeyFacts {
            key_id: "key_1",
            account: "acme",
            account_suspended: false,
            revoked: false,
            disabled: false,
            expire_time: None,
            retire_time: None,
            access,
        }
    }

    const NOW: Timestamp = Timestamp::from_micros(1_000);

    #[test]
    fn expiry_and_retirement_take_effect_at_the_exact_instant() {
        let access = access();
        let question = Question { client_ip: Some([10, 0, 0, 1].into()), ..Question::default() };
        let later = NOW.after(Duration::from_micros(1));
        for (expire_time, retire_time) in [(Some(later), None), (None, Some(later))] {
            let key = KeyFacts { expire_time, retire_time, ..facts(&access) };
            assert_eq!(decide(Some(&key), &question, NOW), Verdict::Valid);
            assert_eq!(decide(Some(&key), &question, later), Verdict::Expired);
        }
    }

    #[test]
    fn a_question_about_another_account_or_key_learns_nothing() {
        let access = access();
        let key = KeyFacts { revoked: true, ..facts(&access) };
        for question in [
            Question { account: Some("other"), ..Question::default() },
            Question { key_id: Some("key_2"), ..Question::default() },
        ] {
            assert_eq!(decide(Some(&key), &question, NOW), Verdict::Unknown);
        }
        assert_eq!(decide(Some(&key), &Question::default(), NOW), Verdict::Revoked);
    }

    #[test]
    fn a_callers_token_is_unknown_unless_the_question_names_account_system() {
        let access = Access { networks: [].into(), projects: ProjectAccess::All, ..access() };
        let key = KeyFacts { account: SYSTEM_ACCOUNT, ..facts(&access) };
        let verdict = |account| decide(Some(&key), &Question { account, ..Question::default() }, NOW);
        assert_eq!(verdict(None), Verdict::Unknown);
        assert_eq!(verdict(Some("acme")), Verdict::Unknown);
        assert_eq!(verdict(Some(SYSTEM_ACCOUNT)), Verdict::Valid);
    }

    proptest! {
        /// The function is total, and the verdict is VALID exactly if no condition fails.
        #[test]
        fn decide_is_total(
            known: bool, suspended: bool, revoked: bool, disabled: bool,
            expire in prop::option::of(0_i64..2_000), retire in prop::option::of(0_i64..2_000), now in 0_i64..2_000,
            key_id in prop::option::of("key_[12]"), account in prop::option::of("acme|other"),
            project in prop::option::of("p|q"), scopes in prop::collection::vec("read|write", 0..3),
            octet in prop::option::of(9_u8..12),
        ) {
            let access = access();
            let (expire_time, retire_time) = (expire.map(Timestamp::from_micros), retire.map(Timestamp::from_micros));
            let key = KeyFacts {
                account_suspended: suspended, revoked, disabled, expire_time, retire_time, ..facts(&access)
            };
            let wanted: Vec<&str> = scopes.iter().map(String::as_str).collect();
            let question = Question {
                key_id: key_id.as_deref(), account: account.as_deref(), project: project.as_deref(), scopes: &wanted,
                client_ip: octet.map(|o| [o, 0, 0, 1].into()),
            };
            let verdict = decide(known.then_some(&key), &question, Timestamp::from_micros(now));
            let valid = known && !suspended && !revoked && !disabled
                && expire.is_none_or(|end| now < end) && retire.is_none_or(|end| now < end)
                && key_id.as_deref().is_none_or(|id| id == "key_1") && account.as_deref().is_none_or(|a| a == "acme")
                && project.as_deref().is_none_or(|p| p == "p") && scopes.iter().all(|s| s == "read")
                && octet == Some(10);
            prop_assert_eq!(verdict == Verdict::Valid, valid);
            prop_assert_ne!(verdict, Verdict::Malformed);
        }
    }
}
