//! The admin handlers. Each is thin: what is asked, who asks; the domain says whether it is allowed; storage makes it
//! one commit; propagation waits until it is everywhere.

use std::sync::Arc;
use std::time::Duration;

use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, AuditEvent, IdempotencyKey, LoggedEvent};
use key_authority_domain::id::{AccountId, KeyId};
use key_authority_domain::key::Key;
use key_authority_domain::secret::Keyring;
use key_authority_domain::snapshot;
use key_authority_domain::time::Timestamp;
use key_authority_replica::ReplicaState;
use key_authority_replica::clock::boottime;
use key_authority_replica::propagation::{Change, Propagation};
use key_authority_storage::read_tx::{ReadTx, RequestIdReused};
use key_authority_storage::write_tx::WriteTx;
use key_authority_storage::{StorageError, Store};

use crate::auth::permit::{Rights, TxPermit};
use crate::observability::metrics::SharedMetrics;
use crate::rpc::deadline::Deadline;
use crate::rpc::errors::RpcError;

/// How long before a caller's deadline it is told that the change stands, but is not everywhere yet.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// What all admin handlers work with.
#[derive(Clone)]
pub struct Admin {
    pub(crate) store: Store,
    pub(crate) view: Arc<ReplicaState>,
    pub(crate) keyring: Arc<Keyring>,
    metrics: SharedMetrics,
    deadline: Option<Deadline>,
}

impl Admin {
    /// Works on the store, waits by the view.
    #[must_use]
    pub fn new(store: Store, view: Arc<ReplicaState>, metrics: SharedMetrics) -> Self {
        let keyring = Arc::clone(store.keyring());
        Self { store, view, keyring, metrics, deadline: None }
    }

    /// The same, for a caller that waits until `deadline`.
    #[must_use]
    pub fn until(&self, deadline: Option<Deadline>) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// Waits until every replica enforces a change that was committed.
    pub(crate) async fn wait(&self, change: Change) -> Result<Propagation, RpcError> {
        let committed = boottime();
        let safe_after = self.view.time().after(self.view.terms().wait);
        let wait = self.view.everywhere(&self.store, change, committed);
        let patience = self.deadline.map_or(Duration::MAX, |deadline| deadline.remaining());
        // The answer has a way to go as well, and what comes too late tells the caller nothing.
        let patience = patience.saturating_sub(ANSWER_TIME.min(patience / 4));
        let propagation = tokio::time::timeout(patience, wait).await.ok();
        let waited = boottime().since(committed);
        self.metrics.replica.waited(propagation.map(|propagation| propagation.state), waited);
        propagation.ok_or(RpcError::NotYetEverywhere { revision: change.revision, safe_after })
    }

    /// The key, if the caller may know of it.
    pub(crate) async fn visible_key(&self, permit: &impl Rights, id: &KeyId) -> Result<Key, RpcError> {
        visible(self.store.key(id).await?, |key| permit.covers(&key.account), RpcError::KeyNotFound)
    }

    /// The account, if the caller may know of it.
    pub(crate) async fn visible_account(&self, permit: &impl Rights, id: &AccountId) -> Result<Account, RpcError> {
        visible(self.store.account(id).await?, |account| permit.covers(&account.id), RpcError::AccountNotFound)
    }
}

/// What is found and may be seen. That it is not there and that it must not be seen are the same answer.
pub(crate) fn visible<T>(found: Option<T>, may_see: impl Fn(&T) -> bool, missing: RpcError) -> Result<T, RpcError> {
    found.filter(may_see).ok_or(missing)
}

/// The event of a request that may be known by any of these marks, if it was made before.
pub(crate) async fn replayed_in(
    tx: &ReadTx,
    permit: &TxPermit,
    marks: &[IdempotencyKey],
) -> Result<Option<LoggedEvent>, RpcError> {
    let mut is_reused = false;
    for mark in marks {
        match tx.seen(permit.actor(), mark).await? {
            Ok(None) => {}
            Ok(seen) => return Ok(seen),
            Err(RequestIdReused) => is_reused = true,
        }
    }
    if is_reused { Err(RpcError::RequestIdReused) } else { Ok(None) }
}

/// The key, within a change, if the caller may know of it, with its account.
pub(crate) async fn key_in(tx: &WriteTx<'_>, permit: &TxPermit, id: &KeyId) -> Result<(Key, Account), RpcError> {
    let key = visible(tx.key(id).await?, |key| permit.covers(&key.account), RpcError::KeyNotFound)?;
    let account = tx.account(&key.account).await?.ok_or_else(|| StorageError::Corrupt {
        table: "api_key",
        column: "account",
        id: key.id.to_string(),
    })?;
    Ok((key, account))
}

/// The account, at that moment, if the caller may know of it.
pub(crate) async fn account_in(tx: &ReadTx, permit: &TxPermit, id: &AccountId) -> Result<Account, RpcError> {
    visible(tx.account(id).await?, |account| permit.covers(&account.id), RpcError::AccountNotFound)
}

/// The event of a change to a key.
pub(crate) fn key_event(
    permit: &TxPermit,
    action: Action,
    mark: Option<IdempotencyKey>,
    before: Option<&Key>,
    after: Option<&Key>,
    now: Timestamp,
) -> Result<AuditEvent, RpcError> {
    let key = after.or(before).ok_or(RpcError::KeyNotFound)?;
    Ok(AuditEvent {
        actor: permit.actor().clone(),
        action,
        account: key.account.clone(),
        key_id: Some(key.id.clone()),
        request: mark,
        before: before.map(|key| snapshot::of_key(key, now)),
        after: after.map(|key| snapshot::of_key(key, now)),
    })
}
