//! How Verify is decided: one function, total, the same for holders of keys and for our own callers.

use std::net::IpAddr;

use crate::access::Access;
use crate::id::SYSTEM_ACCOUNT;
use crate::time::Timestamp;

/// The answer of Verify. A verdict is data; an outage is never one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The holder may.
    Valid,
    /// Not a token.
    Malformed,
    /// No such token, as far as this question goes.
    Unknown,
    /// The key is switched off.
    Disabled,
    /// The key is revoked.
    Revoked,
    /// The key, or this version of its secret, is over.
    Expired,
    /// The account of the key is suspended.
    AccountSuspended,
    /// The key does not cover the project.
    ProjectDenied,
    /// The key has not all the scopes.
    ScopeDenied,
    /// The key may not be used from that address.
    NetworkDenied,
}

impl Verdict {
    /// All of them, in the order of their declaration.
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

    /// Its name in metrics.
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

/// What is asked about the token, beside whether it is one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Question<'a> {
    /// It must be the token of this key.
    pub key_id: Option<&'a str>,
    /// It must be the token of a key of this account. A key of account `system` is found only by a question that names
    /// `system`: the token of a caller of the authority is not the token of a customer.
    pub account: Option<&'a str>,
    /// It must cover this project.
    pub project: Option<&'a str>,
    /// It must have all of these.
    pub scopes: &'a [&'a str],
    /// It must be usable from here.
    pub client_ip: Option<IpAddr>,
}

/// What is known of the token's key.
#[derive(Debug, Clone, Copy)]
pub struct KeyFacts<'a> {
    /// Its ID.
    pub key_id: &'a str,
    /// Its account's ID.
    pub account: &'a str,
    /// Whether that account is suspended.
    pub account_suspended: bool,
    /// Whether the key is revoked.
    pub revoked: bool,
    /// Whether the key is switched off.
    pub disabled: bool,
    /// When the key is over.
    pub expire_time: Option<Timestamp>,
    /// When this version of its secret is over.
    pub retire_time: Option<Timestamp>,
    /// What the key opens.
    pub access: &'a Access,
}

/// Decides a question about a token whose digest was looked up.
///
/// A key with another ID, of another account, or of account `system` where the question does not name it, is
/// [`Verdict::Unknown`]: nothing about it is disclosed. Otherwise the secret has matched, and the answer is the first
/// verdict that applies, in the order of their declaration, revocation first.
#[must_use]
pub fn decide(facts: Option<&KeyFacts<'_>>, question: &Question<'_>, now: Timestamp) -> Verdict {
    let Some(key) = facts else { return Verdict::Unknown };
    let is_asked_for = question.key_id.is_none_or(|id| id == key.key_id)
        && match question.account {
            Some(account) => account == key.account,
            None => key.account != SYSTEM_ACCOUNT,
        };
    if !is_asked_for {
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
    fn the_end_of_key_or_secret_is_exact() {
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
    fn a_foreign_question_learns_nothing_even_of_a_revoked_key() {
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
        /// Total, and VALID exactly when nothing stands against it.
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
            let key = KeyFacts { account_suspended: suspended, revoked, disabled, expire_time, retire_time, ..facts(&access) };
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
