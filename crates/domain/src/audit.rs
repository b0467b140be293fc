//! The audit log, which is also the change log that replicas follow.
//!
//! Each event's hash covers the event and the hash before it, keyed with the tag key of the authority secret: whoever
//! can write to the database, but has not the secret, can neither alter nor insert an event unseen, nor drop one from
//! the midst of the log. What they can do is to cut the log short and set its head back to where it then ends, as it
//! once was: only a revision and its hash that were kept elsewhere show that.

use std::fmt;
use std::str::FromStr;

use crate::id::{AccountId, Actor, KeyId, RequestId, Revision};
use crate::secret::{Keyring, SecretVersion, parse_hex};
use crate::text::ValidationError;
use crate::time::Timestamp;

/// Declares the closed list of what can be recorded, with the number that is stored for each.
macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// What was done. A number is never given to another action.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action { $($(#[$doc])* $name = $number,)* }

        impl Action {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The action with this number.
            #[must_use]
            pub const fn from_number(number: i32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// Its name in logs and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

actions! {
    /// A key was made.
    CreateKey = 1, "create_key";
    /// Fields of a key were changed.
    UpdateKey = 2, "update_key";
    /// A key was switched off.
    DisableKey = 3, "disable_key";
    /// A key was switched on.
    EnableKey = 4, "enable_key";
    /// A key was ended for good.
    RevokeKey = 5, "revoke_key";
    /// A key got a new secret.
    RenewKey = 6, "renew_key";
    /// A key was removed.
    DeleteKey = 7, "delete_key";
    /// A kept token was shown.
    RevealToken = 8, "reveal_token";
    /// An account was made.
    CreateAccount = 9, "create_account";
    /// Fields of an account were changed.
    UpdateAccount = 10, "update_account";
    /// An account was suspended.
    SuspendAccount = 11, "suspend_account";
    /// An account was resumed.
    ResumeAccount = 12, "resume_account";
    /// An account was removed.
    DeleteAccount = 13, "delete_account";
    /// A root key was made by whoever holds the machine.
    Bootstrap = 14, "bootstrap";
    /// An operator accepted the state of a database that had gone back.
    AcceptRestore = 15, "accept_restore";
    /// Keys of another system were taken over.
    ImportKeys = 16, "import_keys";
    /// The deletion of a key began: every replica writes down when it last saw the key used, before it confirms.
    PrepareDeleteKey = 17, "prepare_delete_key";
}

/// What this build understands of the log. The number goes up with each kind of event that replicas of an older build would
/// misread. 2: keys are imported. 3: the use of a key is written down before its deletion.
pub const LOG_FORMAT_VERSION: u32 = 3;

impl Action {
    /// The least [`LOG_FORMAT_VERSION`] of a replica that follows an event of this kind as it must be followed.
    #[must_use]
    pub const fn log_format(self) -> u32 {
        match self {
            Self::ImportKeys => 2,
            Self::PrepareDeleteKey => 3,
            _ => 1,
        }
    }

    /// The number that is stored.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }
}

/// The link of an event in the chain; all zero before the first.
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

/// What a mutation says of itself. Storage adds the revision, the time and the hash when it commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Who did it.
    pub actor: Actor,
    /// What was done.
    pub action: Action,
    /// To which account, or to a key of which account.
    pub account: AccountId,
    /// To which key.
    pub key_id: Option<KeyId>,
    /// The caller's name for the request, and a digest of its parameters.
    pub request: Option<IdempotencyKey>,
    /// The thing before, as JSON without secrets.
    pub before: Option<String>,
    /// The thing after.
    pub after: Option<String>,
}

/// By what a repeated request is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The caller's name for it.
    pub id: RequestId,
    /// A digest of the method and the parameters, so that another request under the same name is noticed.
    pub digest: [u8; 32],
}

/// An event as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Its number: the revision that it made.
    pub revision: Revision,
    /// When, by the database's clock.
    pub time: Timestamp,
    /// What.
    pub event: AuditEvent,
    /// The version of the authority secret that keyed the hash.
    pub secret_version: SecretVersion,
    /// The link.
    pub hash: ChainHash,
}

impl Keyring {
    /// The link of an event after `previous`. None when the version of the secret is not held.
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
        // A length before each text and a mark for each absent one, so that no two events read alike.
        let mut text = |value: Option<&[u8]>| {
            hasher.update(&value.map_or(u64::MAX, |bytes| bytes.len() as u64).to_be_bytes());
            hasher.update(value.unwrap_or_default());
        };
        text(Some(event.actor.as_str().as_bytes()));
        text(Some(event.account.as_str().as_bytes()));
        text(event.key_id.as_ref().map(|id| id.as_str().as_bytes()));
        text(event.request.as_ref().map(|mark| mark.id.as_str().as_bytes()));
        text(event.request.as_ref().map(|mark| &mark.digest[..]));
        text(event.before.as_deref().map(str::as_bytes));
        text(event.after.as_deref().map(str::as_bytes));
        Some(ChainHash(*hasher.finalize().as_bytes()))
    }
}

/// Most events of one gap that are named.
const GAP_MAX: usize = 100;

/// Walks the log and says where it was tampered with.
#[derive(Debug)]
pub struct ChainCheck<'a> {
    keyring: &'a Keyring,
    kept: Option<(Revision, ChainHash)>,
    /// None where the event before has no hash to go on from.
    previous: Option<ChainHash>,
    next: Revision,
}

/// Where the log is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// An event is not there.
    #[error("revision {missing} is missing from the log")]
    Missing {
        /// Its revision.
        missing: Revision,
    },
    /// An event was altered, or inserted, or follows another one than when it was written.
    #[error("revision {revision} was altered, inserted or replaced")]
    Altered {
        /// Its revision.
        revision: Revision,
    },
    /// An event is not the one that somebody has kept the hash of.
    #[error("revision {revision} is not the one that was kept: the log was cut short or rewritten")]
    NotKept {
        /// Its revision.
        revision: Revision,
    },
    /// An event stands beyond the head of the log.
    #[error("revision {revision} was inserted beyond the head of the log, {head}")]
    BeyondHead {
        /// Its revision.
        revision: Revision,
        /// The head.
        head: Revision,
    },
    /// The version of the authority secret that keyed an event is not held.
    #[error(
        "revision {revision} was keyed with version {version} of the authority secret, which is not in the secret file"
    )]
    SecretNotHeld {
        /// Its revision.
        revision: Revision,
        /// The version.
        version: SecretVersion,
    },
    /// The head of the log has another hash than its last event.
    #[error("the head of the log, revision {head}, has another hash than its event")]
    Head {
        /// The head.
        head: Revision,
    },
    /// The actor of an event had already been ended: revoked, disabled, deleted or expired.
    #[error("revision {revision} was made by a caller that had ended with revision {ended_by}")]
    ActorEnded {
        /// The revision of the event.
        revision: Revision,
        /// The event that ended the actor, or that set the expiry which had passed.
        ended_by: Revision,
    },
}

impl<'a> ChainCheck<'a> {
    /// A walk from the beginning of the log. `kept` is a revision and its hash as they once were, kept elsewhere.
    #[must_use]
    pub fn new(keyring: &'a Keyring, kept: Option<(Revision, ChainHash)>) -> Self {
        Self { keyring, kept, previous: Some(ChainHash::default()), next: Revision(1) }
    }

    /// Checks the next event, in order of revision. After a fault the walk goes on from the event as it stands, so that
    /// each fault is told once.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn event(&mut self, logged: &LoggedEvent) -> Result<(), Vec<ChainFault>> {
        let LoggedEvent { revision, time, ref event, secret_version, hash } = *logged;
        let mut faults = self.missing_before(revision);
        // After a gap the hash cannot fit; the gap is the fault that was found.
        let is_linked = self.previous.is_some() && faults.is_empty();
        match self.keyring.chain(self.previous.unwrap_or_default(), revision, time, event, secret_version) {
            None => faults.push(ChainFault::SecretNotHeld { revision, version: secret_version }),
            Some(expected) if expected != hash && is_linked => faults.push(ChainFault::Altered { revision }),
            Some(_) => {}
        }
        faults.extend(self.pass(revision, Some(hash)));
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Passes over the next event, which cannot be read, and so is not what was written. `hash` is what it has in place
    /// of one, if that could be one.
    pub fn unreadable(&mut self, revision: Revision, hash: Option<ChainHash>) -> Vec<ChainFault> {
        let mut faults = self.missing_before(revision);
        faults.push(ChainFault::Altered { revision });
        faults.extend(self.pass(revision, hash));
        faults
    }

    fn missing_before(&self, revision: Revision) -> Vec<ChainFault> {
        let gap = (self.next.0..revision.0).take(GAP_MAX);
        gap.map(|missing| ChainFault::Missing { missing: Revision(missing) }).collect()
    }

    /// Goes on behind an event, and says whether it is another one than was kept.
    fn pass(&mut self, revision: Revision, hash: Option<ChainHash>) -> Option<ChainFault> {
        (self.previous, self.next) = (hash, revision.next());
        let is_kept = self.kept.is_none_or(|(kept, kept_hash)| kept != revision || hash == Some(kept_hash));
        (!is_kept).then_some(ChainFault::NotKept { revision })
    }

    /// Checks the end of the walk against the head that the database remembers.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn finish(self, head: Revision, head_hash: ChainHash) -> Result<(), Vec<ChainFault>> {
        let mut faults = self.missing_before(head.next());
        if faults.is_empty() && self.previous.is_some_and(|hash| hash != head_hash) {
            faults.push(ChainFault::Head { head });
        }
        if let Some((revision, _)) = self.kept.filter(|(kept, _)| *kept > head) {
            faults.push(ChainFault::NotKept { revision });
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
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

    fn faults(ring: &Keyring, log: &[LoggedEvent], head: i64, head_hash: ChainHash) -> Vec<ChainFault> {
        faults_beside(None, ring, log, head, head_hash)
    }

    fn faults_beside(
        kept: Option<(Revision, ChainHash)>,
        ring: &Keyring,
        log: &[LoggedEvent],
        head: i64,
        head_hash: ChainHash,
    ) -> Vec<ChainFault> {
        let mut check = ChainCheck::new(ring, kept);
        let mut faults: Vec<_> = log.iter().filter_map(|e| check.event(e).err()).flatten().collect();
        faults.extend(check.finish(Revision(head), head_hash).err().into_iter().flatten());
        faults
    }

    #[test]
    fn an_untouched_log_passes() {
        let (ring, log) = (ring(), log(&ring(), 5));
        assert_eq!(faults(&ring, &log, 5, log[4].hash), []);
        assert_eq!(faults(&ring, &[], 0, ChainHash::default()), []);
        assert_eq!(log[4].hash.to_string().parse(), Ok(log[4].hash));
    }

    #[test]
    fn an_altered_a_dropped_and_an_inserted_event_are_each_named() {
        let (ring, log) = (ring(), log(&ring(), 5));
        let hash = log[4].hash;
        let revision = |n| Revision(n);

        let mut altered = log.clone();
        altered[2].event.after = Some("{\"scopes\":[\"admin\"]}".into());
        assert_eq!(faults(&ring, &altered, 5, hash), [ChainFault::Altered { revision: revision(3) }]);

        let mut dropped = log.clone();
        dropped.remove(2);
        assert_eq!(faults(&ring, &dropped, 5, hash), [ChainFault::Missing { missing: revision(3) }]);

        let mut inserted = log.clone();
        inserted.push(LoggedEvent { revision: Revision(6), ..log[4].clone() });
        assert_eq!(faults(&ring, &inserted, 6, inserted[5].hash), [ChainFault::Altered { revision: revision(6) }]);

        assert_eq!(faults(&ring, &log[..4], 5, hash), [ChainFault::Missing { missing: revision(5) }]);
        assert_eq!(faults(&ring, &log, 5, ChainHash([1; 32])), [ChainFault::Head { head: revision(5) }]);
    }

    #[test]
    fn an_event_that_cannot_be_read_is_named_once() {
        let (ring, log) = (ring(), log(&ring(), 5));
        for hash in [Some(log[2].hash), None] {
            let mut check = ChainCheck::new(&ring, None);
            assert_eq!((check.event(&log[0]), check.event(&log[1])), (Ok(()), Ok(())));
            assert_eq!(check.unreadable(Revision(3), hash), [ChainFault::Altered { revision: Revision(3) }]);
            assert_eq!((check.event(&log[3]), check.event(&log[4])), (Ok(()), Ok(())));
            assert_eq!(check.finish(Revision(5), log[4].hash), Ok(()));
        }
    }

    #[test]
    fn a_log_that_was_cut_short_with_its_head_passes_unless_its_end_was_kept() {
        let (ring, log) = (ring(), log(&ring(), 5));
        let cut = &log[..3];
        assert_eq!(faults(&ring, cut, 3, log[2].hash), [], "nothing in the database tells");
        let kept = |n: usize| Some((log[n - 1].revision, log[n - 1].hash));
        assert_eq!(faults_beside(kept(3), &ring, cut, 3, log[2].hash), []);
        let not_kept = |n| [ChainFault::NotKept { revision: Revision(n) }];
        assert_eq!(faults_beside(kept(5), &ring, cut, 3, log[2].hash), not_kept(5));
        let other = Some((Revision(2), ChainHash([1; 32])));
        assert_eq!(faults_beside(other, &ring, cut, 3, log[2].hash), not_kept(2));
    }

    #[test]
    fn without_the_secret_no_link_can_be_made() {
        let (ring, log) = (ring(), log(&ring(), 2));
        let other = Keyring::parse(&"08".repeat(32)).unwrap();
        assert_eq!(faults(&other, &log, 2, log[1].hash).len(), 2);
        assert_eq!(ring.chain(ChainHash::default(), Revision(1), Timestamp::from_micros(1), &log[0].event, 2), None);
    }

    #[test]
    fn numbers_and_actions_belong_together() {
        for action in Action::ALL {
            assert_eq!(Action::from_number(action.number()), Some(*action));
        }
        assert_eq!(Action::from_number(0), None);
    }

    proptest! {
        /// Moving bytes from one field to the next changes the hash.
        #[test]
        fn no_two_events_read_alike(a in prop::option::of("[ab]{0,3}"), b in prop::option::of("[ab]{0,3}"), c in prop::option::of("[ab]{0,3}"), d in prop::option::of("[ab]{0,3}")) {
            let hash = |before: &Option<String>, after: &Option<String>| ring().chain(
                ChainHash::default(), Revision(1), Timestamp::from_micros(1),
                &event(Action::CreateKey, None, before.as_deref(), after.as_deref()), 1,
            );
            prop_assert_eq!(hash(&a, &b) == hash(&c, &d), (&a, &b) == (&c, &d));
        }
    }
}
