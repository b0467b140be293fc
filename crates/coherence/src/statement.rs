//! The statements to the database and their answers.

use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_storage::feed::Feed;
use key_authority_storage::registry::{Nonce, ReplicaRow};
use key_authority_storage::settings::Head;

/// A set of keys, one bit per key.
pub(crate) type KeySet = u64;
/// The number of a key, 0 to 63.
pub(crate) type Key = u32;
/// The idempotency key of a request.
pub(crate) type RequestId = u64;

/// The set with this key only.
pub(crate) fn only(key: Key) -> KeySet {
    1_u64.checked_shl(key).unwrap_or(0)
}

/// A change of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) request: RequestId,
    /// The key that it revokes; None for an unrelated change.
    pub(crate) key: Option<Key>,
}

/// A statement, which takes effect at one instant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Statement {
    Join {
        id: ReplicaId,
        nonce: Nonce,
    },
    Snapshot,
    Feed {
        from: Revision,
        limit: usize,
    },
    /// The current state of these keys.
    Rows(KeySet),
    Confirm {
        id: ReplicaId,
        applied: Revision,
        nonce: Nonce,
    },
    Leave(ReplicaId),
    Replicas,
    /// Removes a row if its nonce is this one, or unconditionally if there is none.
    Fence {
        id: ReplicaId,
        nonce: Option<Nonce>,
    },
    /// Begins a transaction: takes the lock, or waits for it.
    Begin(Change),
    Commit {
        revision: Revision,
        change: Change,
    },
    /// Reads the request ID of this revision, under the lock.
    EventAt(Revision),
    Rollback,
}

/// The state at the begin of a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    /// The revision of its change.
    pub(crate) revision: Revision,
    /// The revision of an earlier execution of the same request.
    pub(crate) seen: Option<Revision>,
    /// The last revision that revoked the same key.
    pub(crate) revoked: Option<Revision>,
}

/// The answer to a [`Statement`].
#[derive(Debug)]
pub(crate) enum Answer {
    Done,
    /// Whether the row existed.
    Found(bool),
    Snapshot {
        head: Head,
        revoked: KeySet,
    },
    Feed(Feed),
    /// The revoked ones among the keys of the statement.
    Revoked(KeySet),
    Replicas(Vec<ReplicaRow>),
    Begun(Begun),
    Committed,
    Event(Option<RequestId>),
    /// The session's transaction has ended, or the database is read-only.
    Refused,
}

impl Statement {
    /// Whether a read-only database refuses it. A commit still succeeds, since its transaction has already written.
    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::Join { .. } | Self::Confirm { .. } | Self::Leave(_) | Self::Fence { .. } | Self::Begin(_))
    }
}
