//! The audit log, which is also the change log that replicas follow.
//!
//! The hash of an event covers the event and the previous hash. It is keyed with the tag key of the authority secret.
//! An attacker with write access to the database but without the secret cannot alter, insert or remove an event without
//! detection, with one exception: they can truncate the log and reset its head to an earlier state. Only a revision and
//! its hash that were stored elsewhere reveal that.

use std::fmt;
use std::str::FromStr;

use crate::id::{AccountId, Actor, KeyId, RequestId, Revision, Subject};
use crate::secret::{Keyring, SecretVersion, parse_hex};
use crate::text::ValidationError;
use crate::time::Timestamp;

/// Declares the actions that the log records, with the stored number of each.
macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// The action of an event. A number is never reused for another action.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action { $($(#[$doc])* $name = $number,)* }

        impl Action {
            /// All actions.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The action with this number.
            #[must_use]
            pub const fn from_number(number: i32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// The name in logs and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

actions! {
    /// A key was created.
    CreateKey = 1, "create_key";
    /// Fields of a key were changed.
    UpdateKey = 2, "update_key";
    /// A key was disabled.
    DisableKey = 3, "disable_key";
    /// A key was enabled.
    EnableKey = 4, "enable_key";
    /// A key was revoked.
    RevokeKey = 5, "revoke_key";
    /// A key got a new secret.
    RenewKey = 6, "renew_key";
    /// A key was deleted.
    DeleteKey = 7, "delete_key";
    /// A stored token was revealed.
    RevealToken = 8, "reveal_token";
    /// An account was created.
    CreateAccount = 9, "create_account";
    /// Fields of an account were changed.
    UpdateAccount = 10, "update_account";
    /// An account was suspended.
    SuspendAccount = 11, "suspend_account";
    /// An account was resumed.
    ResumeAccount = 12, "resume_account";
    /// An account was deleted.
    DeleteAccount = 13, "delete_account";
    /// A root key was created by an operator on the machine.
    Bootstrap = 14, "bootstrap";
    /// An operator accepted a database that was restored to an earlier state.
    AcceptRestore = 15, "accept_restore";
    /// Keys of another system were imported.
    ImportKeys = 16, "import_keys";
    /// The deletion of a key started: every replica records when it last saw the key used, before it confirms the
    /// event.
    PrepareDeleteKey = 17, "prepare_delete_key";
    /// Keys of an account were revoked together.
    RevokeKeys = 18, "revoke_keys";
    /// A key was revoked by a caller that presented its token.
    RevokeToken = 19, "revoke_token";
    /// A key got a new secret by a caller that presented its token.
    RenewToken = 20, "renew_token";
    /// A caller created the link to a portal session for a user of its product.
    CreatePortalSession = 21, "create_portal_session";
    /// The user of a product followed the link to a portal session.
    StartPortalSession = 22, "start_portal_session";
}

/// The log format that this build understands. It is incremented for each kind of event that replicas of an older build
/// would misread. 2: keys are imported. 3: the use of a key is recorded before its deletion. 4: keys are revoked
/// together. 5: events have the subject of a portal session.
pub const LOG_FORMAT_VERSION: u32 = 5;

impl Action {
    /// The minimum [`LOG_FORMAT_VERSION`] of a replica that applies an event of this kind correctly.
    #[must_use]
    pub const fn log_format(self) -> u32 {
        match self {
            Self::ImportKeys => 2,
            Self::PrepareDeleteKey => 3,
            Self::RevokeKeys => 4,
            Self::CreatePortalSession | Self::StartPortalSession => 5,
            _ => 1,
        }
    }

    /// The stored number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }
}

/// The hash of an event in the chain; all zero before the first event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ChainHash(pub [u8; 32]);

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ChainHash {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Self, ValidationError> {
        let bytes = parse_hex(text).ok_or_else(|| ValidationError::new("must be 64 hexadecimal characters"))?;
        Ok(Self(*bytes))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The event that describes a change. Storage adds the revision, the time and the hash when it commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// The author of the change.
    pub actor: Actor,
    /// The user of the actor's product for whom the change was made, if it was made in a portal session.
    pub subject: Option<Subject>,
    /// The action.
    pub action: Action,
    /// The account, or the account of the key.
    pub account: AccountId,
    /// The key, if the action concerns one.
    pub key_id: Option<KeyId>,
    /// The idempotency key of the request, if it has one.
    pub request: Option<IdempotencyKey>,
    /// Snapshot before the change: JSON without secrets.
    pub before: Option<String>,
    /// Snapshot after the change.
    pub after: Option<String>,
}

/// Identifies a request, so that a repetition is recognized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The ID that the caller gave the request.
    pub id: RequestId,
    /// A digest of the method and the parameters, which detects another request with the same ID.
    pub digest: [u8; 32],
}

/// An event in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The revision of the change.
    pub revision: Revision,
    /// Time of the change, by the database's clock.
    pub time: Timestamp,
    /// The event.
    pub event: AuditEvent,
    /// The version of the authority secret that keyed the hash.
    pub secret_version: SecretVersion,
    /// The hash in the chain.
    pub hash: ChainHash,
}

impl Keyring {
    /// The hash of an event after `previous`. None if the keyring lacks the version of the secret.
    #[must_use]
    pub fn chain(
        &self,
        previous: ChainHash,
        revision: Revision,
        time: Timestamp,
        event: &AuditEvent,
        secret_version: SecretVersion,
    ) -> Option<ChainHash> {
        let mut hasher = blake3::Hasher::new_keyed(&self.keys(secret_version)?.tag);
        hasher.update(&previous.0);
        hasher.update(&revision.0.to_be_bytes());
        hasher.update(&time.micros().to_be_bytes());
        hasher.update(&event.action.number().to_be_bytes());
        // The length prefix, and a marker for an absent text, make the encoding unambiguous.
        let mut text = |value: Option<&[u8]>| {
            hasher.update(&value.map_or(u64::MAX, |bytes| bytes.len() as u64).to_be_bytes());
            hasher.update(value.unwrap_or_default());
        };
        text(Some(event.actor.as_str().as_bytes()));
        text(Some(event.account.as_str().as_bytes()));
        text(event.key_id.as_ref().map(|id| id.as_str().as_bytes()));
        text(event.request.as_ref().map(|key| key.id.as_str().as_bytes()));
        text(event.request.as_ref().map(|key| &key.digest[..]));
        text(event.before.as_deref().map(str::as_bytes));
        text(event.after.as_deref().map(str::as_bytes));
        // Left out if absent, so that the hashes of earlier events stay the same. A further text makes the encoding
        // longer than any without it, so it stays unambiguous.
        if let Some(subject) = &event.subject {
            text(Some(subject.as_str().as_bytes()));
        }
        Some(ChainHash(*hasher.finalize().as_bytes()))
    }
}

/// Maximum number of missing events that are reported for one gap.
const GAP_MAX: usize = 100;

/// Walks the log and reports where it was tampered with.
#[derive(Debug)]
pub struct ChainCheck<'a> {
    keyring: &'a Keyring,
    expected: Option<(Revision, ChainHash)>,
    /// None if the previous event has no valid hash.
    previous: Option<ChainHash>,
    next: Revision,
}

/// A place where the log differs from what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// An event is missing.
    #[error("revision {missing} is missing from the log")]
    Missing {
        /// The revision of the event.
        missing: Revision,
    },
    /// An event was altered or inserted, or the event before it was replaced.
    #[error("revision {revision} was altered, inserted or replaced")]
    Altered {
        /// The revision of the event.
        revision: Revision,
    },
    /// An event does not match a hash that was stored elsewhere.
    #[error("revision {revision} does not match the expected hash: the log was truncated or rewritten")]
    NotExpected {
        /// The revision of the event.
        revision: Revision,
    },
    /// An event is beyond the head of the log.
    #[error("revision {revision} was inserted beyond the head of the log, {head}")]
    BeyondHead {
        /// The revision of the event.
        revision: Revision,
        /// The head.
        head: Revision,
    },
    /// The keyring lacks the version of the authority secret that keyed an event.
    #[error(
        "revision {revision} was keyed with version {version} of the authority secret, which is not in the secret file"
    )]
    SecretVersionMissing {
        /// The revision of the event.
        revision: Revision,
        /// The version.
        version: SecretVersion,
    },
    /// The head of the log has a different hash than its last event.
    #[error("the head of the log, revision {head}, has a different hash than its event")]
    Head {
        /// The head.
        head: Revision,
    },
    /// The key of the event's actor was already revoked, disabled, deleted or expired.
    #[error(
        "revision {revision} was made by a caller whose key was revoked, disabled, deleted or expired by revision \
         {ended_by}"
    )]
    ActorEnded {
        /// The revision of the event.
        revision: Revision,
        /// The event that ended the key, or that set the expiry that had passed.
        ended_by: Revision,
    },
}

impl<'a> ChainCheck<'a> {
    /// Starts a walk at the beginning of the log. `expected` is an earlier revision and its hash, stored elsewhere.
    #[must_use]
    pub fn new(keyring: &'a Keyring, expected: Option<(Revision, ChainHash)>) -> Self {
        Self { keyring, expected, previous: Some(ChainHash::default()), next: Revision(1) }
    }

    /// Checks the next event, in order of revision. After an error the walk continues from the stored hash, so each
    /// error is reported once.
    ///
    /// # Errors
    /// All errors of the event.
    pub fn event(&mut self, logged: &LoggedEvent) -> Result<(), Vec<ChainError>> {
        let LoggedEvent { revision, time, ref event, secret_version, hash } = *logged;
        let mut errors = self.missing_before(revision);
        // After a gap the hash cannot match; only the gap is reported.
        let is_linked = self.previous.is_some() && errors.is_empty();
        match self.keyring.chain(self.previous.unwrap_or_default(), revision, time, event, secret_version) {
            None => errors.push(ChainError::SecretVersionMissing { revision, version: secret_version }),
            Some(expected) if expected != hash && is_linked => errors.push(ChainError::Altered { revision }),
            Some(_) => {}
        }
        errors.extend(self.advance(revision, Some(hash)));
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Reports the next event as altered because it cannot be read. `hash` is its stored hash, if that is well-formed.
    pub fn unreadable(&mut self, revision: Revision, hash: Option<ChainHash>) -> Vec<ChainError> {
        let mut errors = self.missing_before(revision);
        errors.push(ChainError::Altered { revision });
        errors.extend(self.advance(revision, hash));
        errors
    }

    fn missing_before(&self, revision: Revision) -> Vec<ChainError> {
        let gap = (self.next.0..revision.0).take(GAP_MAX);
        gap.map(|missing| ChainError::Missing { missing: Revision(missing) }).collect()
    }

    /// Advances past an event and compares it with the expected hash.
    fn advance(&mut self, revision: Revision, hash: Option<ChainHash>) -> Option<ChainError> {
        (self.previous, self.next) = (hash, revision.next());
        let is_expected =
            self.expected.is_none_or(|(expected, expected_hash)| expected != revision || hash == Some(expected_hash));
        (!is_expected).then_some(ChainError::NotExpected { revision })
    }

    /// Checks the end of the walk against the head of the log in the database.
    ///
    /// # Errors
    /// All errors of the head.
    pub fn finish(self, head: Revision, head_hash: ChainHash) -> Result<(), Vec<ChainError>> {
        let mut errors = self.missing_before(head.next());
        if errors.is_empty() && self.previous.is_some_and(|hash| hash != head_hash) {
            errors.push(ChainError::Head { head });
        }
        if let Some((revision, _)) = self.expected.filter(|(expected, _)| *expected > head) {
            errors.push(ChainError::NotExpected { revision });
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring() -> Keyring {
        Keyring::parse(&"07".repeat(32)).unwrap()
    }

    fn event(action: Action, key_id: Option<&str>, before: Option<&str>, after: Option<&str>) -> AuditEvent {
        AuditEvent {
            actor: Actor::bootstrap(),
            subject: None,
            action,
            account: AccountId::new("acme").unwrap(),
            key_id: key_id.map(|id| KeyId::new(id).unwrap()),
            request: None,
            before: before.map(Into::into),
            after: after.map(Into::into),
        }
    }

    fn log(ring: &Keyring, len: i64) -> Vec<LoggedEvent> {
        let mut previous = ChainHash::default();
        (1..=len)
            .map(|n| {
                let (revision, time) = (Revision(n), Timestamp::from_micros(n));
                let event = event(Action::CreateKey, Some("key_1"), None, Some("{}"));
                let hash = ring.chain(previous, revision, time, &event, 1).unwrap();
                previous = hash;
                LoggedEvent { revision, time, event, secret_version: 1, hash }
            })
            .collect()
    }

    fn errors(ring: &Keyring, log: &[LoggedEvent], head: i64, head_hash: ChainHash) -> Vec<ChainError> {
        errors_with_expected(None, ring, log, head, head_hash)
    }

    fn errors_with_expected(
        expected: Option<(Revision, ChainHash)>,
        ring: &Keyring,
        log: &[LoggedEvent],
        head: i64,
        head_hash: ChainHash,
    ) -> Vec<ChainError> {
        let mut check = ChainCheck::new(ring, expected);
        let mut errors: Vec<_> = log.iter().filter_map(|e| check.event(e).err()).flatten().collect();
        errors.extend(check.finish(Revision(head), head_hash).err().into_iter().flatten());
        errors
    }

    #[test]
    fn an_unchanged_log_passes() {
        let (ring, log) = (ring(), log(&ring(), 5));
        assert_eq!(errors(&ring, &log, 5, log[4].hash), []);
        assert_eq!(errors(&ring, &[], 0, ChainHash::default()), []);
        assert_eq!(log[4].hash.to_string().parse(), Ok(log[4].hash));
    }

    #[test]
    fn altered_missing_and_inserted_events_are_reported() {
        let (ring, log) = (ring(), log(&ring(), 5));
        let hash = log[4].hash;
        let revision = |n| Revision(n);

        let mut altered = log.clone();
        altered[2].event.after = Some("{\"scopes\":[\"admin\"]}".into());
        assert_eq!(errors(&ring, &altered, 5, hash), [ChainError::Altered { revision: revision(3) }]);

        let mut dropped = log.clone();
        dropped.remove(2);
        assert_eq!(errors(&ring, &dropped, 5, hash), [ChainError::Missing { missing: revision(3) }]);

        let mut inserted = log.clone();
        inserted.push(LoggedEvent { revision: Revision(6), ..log[4].clone() });
        assert_eq!(errors(&ring, &inserted, 6, inserted[5].hash), [ChainError::Altered { revision: revision(6) }]);

        assert_eq!(errors(&ring, &log[..4], 5, hash), [ChainError::Missing { missing: revision(5) }]);
        assert_eq!(errors(&ring, &log, 5, ChainHash([1; 32])), [ChainError::Head { head: revision(5) }]);
    }

    #[test]
    fn an_unreadable_event_is_reported_once() {
        let (ring, log) = (ring(), log(&ring(), 5));
        for hash in [Some(log[2].hash), None] {
            let mut check = ChainCheck::new(&ring, None);
            assert_eq!((check.event(&log[0]), check.event(&log[1])), (Ok(()), Ok(())));
            assert_eq!(check.unreadable(Revision(3), hash), [ChainError::Altered { revision: Revision(3) }]);
            assert_eq!((check.event(&log[3]), check.event(&log[4])), (Ok(()), Ok(())));
            assert_eq!(check.finish(Revision(5), log[4].hash), Ok(()));
        }
    }

    #[test]
    fn a_log_truncated_with_its_head_passes_unless_a_hash_is_expected() {
        let (ring, log) = (ring(), log(&ring(), 5));
        let truncated = &log[..3];
        assert_eq!(errors(&ring, truncated, 3, log[2].hash), [], "the database alone does not reveal it");
        let expected = |n: usize| Some((log[n - 1].revision, log[n - 1].hash));
        assert_eq!(errors_with_expected(expected(3), &ring, truncated, 3, log[2].hash), []);
        let not_expected = |n| [ChainError::NotExpected { revision: Revision(n) }];
        assert_eq!(errors_with_expected(expected(5), &ring, truncated, 3, log[2].hash), not_expected(5));
        let other = Some((Revision(2), ChainHash([1; 32])));
        assert_eq!(errors_with_expected(other, &ring, truncated, 3, log[2].hash), not_expected(2));
    }

    #[test]
    fn without_the_secret_no_hash_can_be_computed() {
        let (ring, log) = (ring(), log(&ring(), 2));
        let other = Keyring::parse(&"08".repeat(32)).unwrap();
        assert_eq!(errors(&other, &log, 2, log[1].hash).len(), 2);
        assert_eq!(ring.chain(ChainHash::default(), Revision(1), Timestamp::from_micros(1), &log[0].event, 2), None);
    }

    #[test]
    fn numbers_and_actions_round_trip() {
        for action in Action::ALL {
            assert_eq!(Action::from_number(action.number()), Some(*action));
        }
        assert_eq!(Action::from_number(0), None);
    }

    /// What was before, what is after, and the subject.
    fn texts() -> impl Strategy<Value = (Option<String>, Option<String>, Option<String>)> {
        let text = || prop::option::of("[ab]{0,3}");
        (text(), text(), prop::option::of("[ab]{1,3}"))
    }

    proptest! {
        /// Moving bytes from one field to the next changes the hash.
        #[test]
        fn different_events_have_different_hashes(
            a in texts(), b in texts(),
        ) {
            let hash = |(before, after, subject): &(Option<String>, Option<String>, Option<String>)| {
                let subject = subject.as_deref().map(|subject| Subject::new(subject).unwrap());
                let event = event(Action::CreateKey, None, before.as_deref(), after.as_deref());
                ring().chain(
                    ChainHash::default(), Revision(1), Timestamp::from_micros(1), &AuditEvent { subject, ..event }, 1,
                )
            };
            prop_assert_eq!(hash(&a) == hash(&b), a == b);
        }
    }
}
