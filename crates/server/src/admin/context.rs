//! What the handlers share: the store, the replica's state, and the wait for propagation.

use std::sync::Arc;
use std::time::Duration;

use key_authority_domain::account::Account;
use key_authority_domain::id::{AccountId, KeyId};
use key_authority_domain::key::Key;
use key_authority_domain::secret::Keyring;
use key_authority_replica::ReplicaState;
use key_authority_replica::clock::boottime;
use key_authority_replica::ledger::SystemTimer;
use key_authority_replica::protocol::wait::{Change, Propagation};
use key_authority_storage::Store;

use super::audited::visible;
use crate::auth::call::Call;
use crate::auth::permit::Rights;
use crate::observability::metrics::SharedMetrics;
use crate::rpc::errors::RpcError;

/// How long before a caller's deadline a call ends that waits for propagation: the response has a way to go as well.
const RESPONSE_TIME: Duration = Duration::from_millis(100);

/// What all admin handlers work with.
pub(crate) struct Admin {
    /// For reads.
    pub(super) store: Store,
    /// For changes and the wait for their propagation.
    pub(super) changes: Store,
    pub(super) replica: Arc<ReplicaState>,
    pub(super) keyring: Arc<Keyring>,
    metrics: SharedMetrics,
}

impl Admin {
    /// Reads by the first store and changes by the second one, of the same database; waits by what the replica knows.
    #[must_use]
    pub(crate) fn new((store, changes): (Store, Store), replica: Arc<ReplicaState>, metrics: SharedMetrics) -> Self {
        let keyring = Arc::clone(store.keyring());
        Self { store, changes, replica, keyring, metrics }
    }

    /// Waits until every replica enforces a change that was committed, at most until shortly before the call's deadline.
    ///
    /// # Errors
    /// `PROPAGATION_PENDING`: the change stands, and is not known to be enforced everywhere.
    pub(super) async fn wait(&self, call: &Call, change: Change) -> Result<Propagation, RpcError> {
        let committed = boottime();
        let safe_after = self.replica.time().after(self.replica.timings().wait);
        let wait = self.replica.wait_until_propagated(&self.changes, &SystemTimer, change, committed);
        let patience = call.deadline.map_or(Duration::MAX, |deadline| deadline.remaining());
        let patience = patience.saturating_sub(RESPONSE_TIME.min(patience / 4));
        let propagation = tokio::time::timeout(patience, wait).await.ok();
        let waited = boottime().since(committed);
        self.metrics.replica.waited(propagation.map(|propagation| propagation.state), waited);
        propagation.ok_or(RpcError::NotYetEverywhere { revision: change.revision, safe_after })
    }

    /// The key, if the caller may know of it.
    pub(super) async fn visible_key(&self, permit: &impl Rights, id: &KeyId) -> Result<Key, RpcError> {
        visible(self.store.key(id).await?, |key| permit.covers(&key.account), RpcError::KeyNotFound)
    }

    /// The account, if the caller may know of it.
    pub(super) async fn visible_account(&self, permit: &impl Rights, id: &AccountId) -> Result<Account, RpcError> {
        visible(self.store.account(id).await?, |account| permit.covers(&account.id), RpcError::AccountNotFound)
    }
}
