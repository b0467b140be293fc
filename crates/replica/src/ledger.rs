//! The port to the database and to time that the replicator and the propagator use.
//!
//! Production runs on `storage::Store` and the clock of this machine. The loops are generic over the port, so that a
//! simulation can run them on a database and a clock of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use key_authority_domain::audit::ChainHash;
use key_authority_domain::id::{AccountId, KeyId, ReplicaId, Revision};
use key_authority_domain::time::Timestamp;
use key_authority_storage::feed::{ChangedKeys, ChangedRows, Feed, FeedEvent};
use key_authority_storage::registry::{JoinRefused, Joining, Nonce, RegistryScan};
use key_authority_storage::settings::Head;
use key_authority_storage::usage::UsageDelta;
use key_authority_storage::{StorageError, Store};

use crate::clock::{Boottime, boottime};

/// The result of a statement.
type Answer<T> = Result<T, StorageError>;

/// The database, as a replica follows it. Each method does what the method of `storage::Store` with the same name does.
pub trait Ledger: Sync {
    /// Reads the authority's clock.
    fn now(&self) -> impl Future<Output = Answer<Timestamp>> + Send;
    /// Reads the log from a revision on, and its head.
    fn feed(&self, from: Revision) -> impl Future<Output = Answer<Feed>> + Send;
    /// Reads the current rows of accounts and keys.
    fn rows(&self, accounts: &[AccountId], keys: &[KeyId]) -> impl Future<Output = Answer<ChangedRows>> + Send;
    /// Reads the keys that an event changed without naming them.
    fn keys_changed_by(&self, event: &FeedEvent) -> impl Future<Output = Answer<ChangedKeys>> + Send;
    /// Reads everything from one snapshot, in batches; returns the head of that snapshot.
    fn snapshot(&self, take: impl FnMut(ChangedRows) + Send) -> impl Future<Output = Answer<Head>> + Send;
    /// Reads the hash of the first event of the log, by which an authority is known.
    fn first_hash(&self) -> impl Future<Output = Answer<Option<ChainHash>>> + Send;
    /// Reads the acceptances of a restore in the log.
    fn acceptances(&self) -> impl Future<Output = Answer<BTreeSet<ChainHash>>> + Send;
    /// Writes the use of keys.
    fn record_usage(&self, deltas: &mut [UsageDelta])
    -> impl Future<Output = Result<(), (usize, StorageError)>> + Send;
    /// Adds a replica to the registry.
    fn join(&self, joining: Joining<'_>) -> impl Future<Output = Answer<Result<(), JoinRefused>>> + Send;
    /// Confirms a revision; returns whether the replica is registered.
    fn confirm(&self, id: ReplicaId, applied: Head, nonce: Nonce) -> impl Future<Output = Answer<bool>> + Send;
    /// Reads the registry from a server whose log has the revision.
    fn registry(&self, at: Revision) -> impl Future<Output = Answer<RegistryScan>> + Send;
    /// Removes a replica whose row is still the observed one; returns whether it did.
    fn fence(&self, id: ReplicaId, observed: Nonce) -> impl Future<Output = Answer<bool>> + Send;
    /// Removes a replica that shuts down.
    fn leave(&self, id: ReplicaId) -> impl Future<Output = Answer<()>> + Send;
    /// Returns the number of sessions so far: all work done under one number was done on one server.
    fn sessions(&self) -> u64;
    /// Closes the session.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

impl Ledger for Store {
    async fn now(&self) -> Answer<Timestamp> {
        Self::now(self).await
    }

    async fn feed(&self, from: Revision) -> Answer<Feed> {
        Self::feed(self, from).await
    }

    async fn rows(&self, accounts: &[AccountId], keys: &[KeyId]) -> Answer<ChangedRows> {
        Self::rows(self, accounts, keys).await
    }

    async fn keys_changed_by(&self, event: &FeedEvent) -> Answer<ChangedKeys> {
        Self::keys_changed_by(self, event).await
    }

    async fn snapshot(&self, take: impl FnMut(ChangedRows) + Send) -> Answer<Head> {
        Self::snapshot(self, take).await
    }

    async fn first_hash(&self) -> Answer<Option<ChainHash>> {
        Self::first_hash(self).await
    }

    async fn acceptances(&self) -> Answer<BTreeSet<ChainHash>> {
        Self::acceptances(self).await
    }

    async fn record_usage(&self, deltas: &mut [UsageDelta]) -> Result<(), (usize, StorageError)> {
        Self::record_usage(self, deltas).await
    }

    async fn join(&self, joining: Joining<'_>) -> Answer<Result<(), JoinRefused>> {
        Self::join(self, joining).await
    }

    async fn confirm(&self, id: ReplicaId, applied: Head, nonce: Nonce) -> Answer<bool> {
        Self::confirm(self, id, applied, nonce).await
    }

    async fn registry(&self, at: Revision) -> Answer<RegistryScan> {
        Self::registry(self, at).await
    }

    async fn fence(&self, id: ReplicaId, observed: Nonce) -> Answer<bool> {
        Self::fence(self, id, observed).await
    }

    async fn leave(&self, id: ReplicaId) -> Answer<()> {
        Self::leave(self, id).await
    }

    fn sessions(&self) -> u64 {
        Self::sessions(self)
    }

    async fn close(&self) {
        Self::close(self).await;
    }
}

/// The passage of time, as a replica sees it.
pub trait Timer: Sync {
    /// Reads the boot clock.
    fn now(&self) -> Boottime;
    /// Waits for `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;

    /// Returns the output of `work`, or `None` when it takes longer than `limit`.
    fn within<F: Future + Send>(&self, limit: Duration, work: F) -> impl Future<Output = Option<F::Output>> + Send {
        async move {
            tokio::select! {
                biased;
                output = work => Some(output),
                () = self.sleep(limit) => None,
            }
        }
    }
}

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemTimer;

impl Timer for SystemTimer {
    fn now(&self) -> Boottime {
        boottime()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
