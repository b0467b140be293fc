//! What is asked of the database, and what it answers.

use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_storage::feed::Feed;
use key_authority_storage::registry::{Nonce, ReplicaRow};
use key_authority_storage::settings::Head;

/// A set of keys: one bit each.
pub(crate) type KeySet = u64;
/// The number of a key, 0 to 63.
pub(crate) type Key = u32;
/// A caller's name for one request.
pub(crate) type RequestId = u64;

/// The set of this one key.
pub(crate) fn only(key: Key) -> KeySet {
    1_u64.checked_shl(key).unwrap_or(0)
}

/// A change that a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) request: RequestId,
    /// The key that it revokes; none for a change that is nobody's concern.
    pub(crate) key: Option<Key>,
}

/// One statement, which takes effect at one instant.
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
    /// The named keys as they are now.
    Rows(KeySet),
    Confirm {
        id: ReplicaId,
        applied: Revision,
        nonce: Nonce,
    },
    Leave(ReplicaId),
    Replicas,
    /// Removes a row whose nonce is this one; whatever its nonce is when there is none.
    Fence {
        id: ReplicaId,
        nonce: Option<Nonce>,
    },
    /// Takes the lock, or waits for it.
    Begin(Change),
    Commit {
        revision: Revision,
        change: Change,
    },
    /// The request whose event this is; only under the lock.
    EventAt(Revision),
    Rollback,
}

/// What a transaction finds when it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    /// The revision that it may make.
    pub(crate) revision: Revision,
    /// The revision that the same request made before.
    pub(crate) seen: Option<Revision>,
    /// The last revision that revoked the same key.
    pub(crate) revoked: Option<Revision>,
}

/// The answer to a [`Statement`].
#[derive(Debug)]
pub(crate) enum Answer {
    Done,
    /// Whether there was such a row.
    Found(bool),
    Snapshot {
        head: Head,
        revoked: KeySet,
    },
    Feed(Feed),
    /// Those of the named keys that are revoked.
    Revoked(KeySet),
    Replicas(Vec<ReplicaRow>),
    Begun(Begun),
    Committed,
    Event(Option<RequestId>),
    /// The statement makes no sense in this session, whose transaction has ended; or the database does not write.
    Refused,
}

impl Statement {
    /// Whether a database that has no room refuses it. A commit has its room already.
    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::Join { .. } | Self::Confirm { .. } | Self::Leave(_) | Self::Fence { .. } | Self::Begin(_))
    }
}
