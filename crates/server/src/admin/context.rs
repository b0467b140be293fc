//! The context that all admin handlers share: the store, the replica's state, and the wait for propagation.

use std::sync::Arc;
use std::time::Duration;

use key_authority_domain::account::Account;
use key_authority_domain::id::{AccountId, Actor, KeyId};
use key_authority_domain::key::Key;
use key_authority_domain::secret::Keyring;
use key_authority_replica::ReplicaState;
use key_authority_replica::clock::boottime;
use key_authority_replica::ledger::SystemTimer;
use key_authority_replica::protocol::wait::{CommittedChange, Propagation};
use key_authority_storage::Store;
use key_authority_storage::read_tx::ReadTx;

use super::audited::visible;
use super::import_queue::ImportQueue;
use crate::auth::call::Call;
use crate::auth::permit::{Rights, TxPermit};
use crate::keyed_semaphore::{KeyedPermit, KeyedSemaphore};
use crate::observability::metrics::SharedMetrics;
use crate::rpc::errors::RpcError;

/// How long before a caller's deadline a wait for propagation ends, so that the response still arrives in time.
const RESPONSE_TIME: Duration = Duration::from_millis(100);
/// The reads of one caller may use this share of the connections for reads at a time: half of them. A caller with many
/// connections could otherwise use all, and the reads of other callers would wait behind all of its own.
const CALLER_SHARE: u32 = 2;

/// Two stores of the same database.
pub(crate) struct Stores {
    /// For reads.
    pub(crate) reads: Store,
    /// The number of its connections.
    pub(crate) reads_max: u32,
    /// For changes and the wait for their propagation.
    pub(crate) changes: Store,
}

/// A transaction that only reads, with the permit of the caller in it.
pub(super) struct Reading<'a> {
    pub(super) tx: ReadTx,
    pub(super) permit: TxPermit,
    /// Released after the transaction has ended.
    _turn: Option<KeyedPermit<'a, Actor>>,
}

/// The shared context of the admin handlers.
pub(crate) struct Admin {
    /// For reads.
    pub(super) store: Store,
    /// For changes and the wait for their propagation.
    pub(super) changes: Store,
    pub(super) replica: Arc<ReplicaState>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) imports: ImportQueue,
    /// The reads of each caller.
    pub(super) reads: KeyedSemaphore<Actor>,
    /// The address of the console, as browsers reach it, without a path; `None` without a console.
    pub(super) console_url: Option<String>,
    metrics: SharedMetrics,
}

impl Admin {
    /// Makes the context.
    #[must_use]
    pub(crate) fn new(
        Stores { reads: store, reads_max, changes }: Stores,
        replica: Arc<ReplicaState>,
        console_url: Option<String>,
        metrics: SharedMetrics,
    ) -> Self {
        let keyring = Arc::clone(store.keyring());
        let (imports, reads) = (ImportQueue::default(), KeyedSemaphore::new(reads_of_caller(reads_max), usize::MAX));
        Self { store, changes, replica, keyring, imports, reads, console_url, metrics }
    }

    /// Waits until every replica enforces a committed change, but only until shortly before the call's deadline.
    ///
    /// # Errors
    /// `PROPAGATION_PENDING`: the change is committed, but not known to be enforced on every replica.
    pub(super) async fn wait(&self, call: &Call, change: CommittedChange) -> Result<Propagation, RpcError> {
        let committed = boottime();
        let safe_after = self.replica.time().after(self.replica.timings().wait);
        let wait = self.replica.wait_until_propagated(&self.changes, &SystemTimer, change, committed);
        let patience = call.deadline.map_or(Duration::MAX, |deadline| deadline.remaining());
        let patience = patience.saturating_sub(RESPONSE_TIME.min(patience / 4));
        let propagation = tokio::time::timeout(patience, wait).await.ok();
        let waited = boottime().since(committed);
        self.metrics.replica.waited(propagation.map(|propagation| propagation.state), waited);
        propagation.ok_or(RpcError::PropagationPending { revision: change.revision, safe_after })
    }

    /// Begins a transaction that only reads, in the turn of the caller among its reads, and authorizes the caller in
    /// it. A caller that waits for a second one while it has a first one could wait forever.
    ///
    /// # Errors
    /// As [`Permit::authorize_in`](crate::auth::permit::Permit::authorize_in).
    pub(super) async fn begin_reading(&self, call: &Call) -> Result<Reading<'_>, RpcError> {
        let turn = self.reads.acquire(call.permit.actor()?).await;
        let tx = self.store.begin_reading().await?.not_before(self.replica.time());
        let permit = call.permit.authorize_in(&tx).await?;
        Ok(Reading { tx, permit, _turn: turn })
    }

    /// Reads the key, if the caller may see it.
    pub(super) async fn visible_key(&self, permit: &impl Rights, id: &KeyId) -> Result<Key, RpcError> {
        visible(
            self.store.key_of(id, &permit.accounts()).await?,
            |key| permit.covers(&key.account),
            RpcError::KeyNotFound,
        )
    }

    /// Reads the account, if the caller may see it.
    pub(super) async fn visible_account(&self, permit: &impl Rights, id: &AccountId) -> Result<Account, RpcError> {
        visible(self.store.account(id).await?, |account| permit.covers(&account.id), RpcError::AccountNotFound)
    }
}

/// Returns the number of reads that one caller may have at a time.
fn reads_of_caller(connections: u32) -> usize {
    usize::try_from(connections / CALLER_SHARE).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_use_half_of_the_connections_and_at_least_one() {
        assert_eq!([0, 1, 2, 3, 10].map(reads_of_caller), [1, 1, 1, 1, 5]);
    }
}
