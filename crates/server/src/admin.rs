//! The admin handlers. Each is thin: what is asked, who asks; the domain says whether it is allowed; storage makes it
//! one commit; propagation waits until it is everywhere.

mod accounts;
mod audit;
mod connect;
mod cursor;
mod import;
mod keys;
mod operations;

use std::sync::Arc;
use std::time::Duration;

use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, AuditEvent, LoggedEvent, RequestMark};
use key_authority_domain::id::{AccountId, KeyId, Revision};
use key_authority_domain::key::Key;
use key_authority_domain::secret::Keyring;
use key_authority_domain::snapshot;
use key_authority_domain::time::Timestamp;
use key_authority_replica::View;
use key_authority_replica::clock::boottime;
use key_authority_replica::propagation::Propagation;
use key_authority_storage::read_tx::{ReadTx, RequestIdReused};
use key_authority_storage::write_tx::WriteTx;
use key_authority_storage::{StorageError, Store};

use crate::caller::Permit;
use crate::deadline::Deadline;
use crate::metrics::SharedMetrics;
use crate::status::Failure;

/// How long before a caller's deadline it is told that the change stands, but is not everywhere yet.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// What all admin handlers work with.
#[derive(Clone)]
pub struct Admin {
    pub(crate) store: Store,
    pub(crate) view: Arc<View>,
    pub(crate) keyring: Arc<Keyring>,
    metrics: SharedMetrics,
    deadline: Option<Deadline>,
}

/// A change that has begun, or the one that the same request made before.
pub(crate) enum Begun<'a> {
    New(WriteTx<'a>),
    Seen(LoggedEvent),
}

impl Admin {
    /// Works on the store, waits by the view.
    #[must_use]
    pub fn new(store: Store, view: Arc<View>, metrics: SharedMetrics) -> Self {
        let keyring = Arc::clone(store.keyring());
        Self { store, view, keyring, metrics, deadline: None }
    }

    /// The same, for a caller that waits until `deadline`.
    #[must_use]
    pub fn until(&self, deadline: Option<Deadline>) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// Begins a change, unless the same request has made it before.
    pub(crate) async fn begin(&self, permit: &Permit, mark: Option<&RequestMark>) -> Result<Begun<'_>, Failure> {
        self.begin_as(permit, mark.map_or(&[], std::slice::from_ref)).await
    }

    /// The same for a request that may be known by any of these marks.
    pub(crate) async fn begin_as(&self, permit: &Permit, marks: &[RequestMark]) -> Result<Begun<'_>, Failure> {
        let tx = self.store.begin().await?;
        Ok(match seen_in(&tx, permit, marks).await? {
            Some(logged) => Begun::Seen(logged),
            None => Begun::New(tx),
        })
    }

    /// Commits a change and waits until it is everywhere.
    pub(crate) async fn finish(&self, tx: WriteTx<'_>, event: AuditEvent) -> Result<Propagation, Failure> {
        let committed = tx.commit(event).await?;
        self.everywhere(committed.revision).await
    }

    /// Waits until a change that was committed is everywhere. A repeated request waits again: that a change stands does
    /// not say that all replicas know of it.
    pub(crate) async fn everywhere(&self, revision: Revision) -> Result<Propagation, Failure> {
        let committed = boottime();
        let safe_after = self.view.time().after(self.view.terms().wait);
        let wait = self.view.everywhere(&self.store, revision, committed);
        let patience = self.deadline.map_or(Duration::MAX, |deadline| deadline.remaining());
        // The answer has a way to go as well, and what comes too late tells the caller nothing.
        let patience = patience.saturating_sub(ANSWER_TIME.min(patience / 4));
        let propagation = tokio::time::timeout(patience, wait).await.ok();
        let waited = boottime().since(committed);
        self.metrics.replica.waited(propagation.map(|propagation| propagation.state), waited);
        propagation.ok_or(Failure::NotYetEverywhere { revision, safe_after })
    }

    /// The key, if the caller may know of it.
    pub(crate) async fn visible_key(&self, permit: &Permit, id: &KeyId) -> Result<Key, Failure> {
        visible(self.store.key(id).await?, |key| permit.covers(&key.account), Failure::KeyNotFound)
    }

    /// The account, if the caller may know of it.
    pub(crate) async fn visible_account(&self, permit: &Permit, id: &AccountId) -> Result<Account, Failure> {
        visible(self.store.account(id).await?, |account| permit.covers(&account.id), Failure::AccountNotFound)
    }
}

/// What is found and may be seen. That it is not there and that it must not be seen are the same answer.
pub(crate) fn visible<T>(found: Option<T>, may_see: impl Fn(&T) -> bool, missing: Failure) -> Result<T, Failure> {
    found.filter(may_see).ok_or(missing)
}

/// The event of a request that may be known by any of these marks, if it was made before.
pub(crate) async fn seen_in(
    tx: &ReadTx,
    permit: &Permit,
    marks: &[RequestMark],
) -> Result<Option<LoggedEvent>, Failure> {
    let actor = permit.actor()?;
    let mut is_reused = false;
    for mark in marks {
        match tx.seen(&actor, mark).await? {
            Ok(None) => {}
            Ok(seen) => return Ok(seen),
            Err(RequestIdReused) => is_reused = true,
        }
    }
    if is_reused { Err(Failure::RequestIdReused) } else { Ok(None) }
}

/// The key, within a change, if the caller may know of it, with its account.
pub(crate) async fn key_in(tx: &WriteTx<'_>, permit: &Permit, id: &KeyId) -> Result<(Key, Account), Failure> {
    let key = visible(tx.key(id).await?, |key| permit.covers(&key.account), Failure::KeyNotFound)?;
    let account = tx.account(&key.account).await?.ok_or_else(|| StorageError::Corrupt {
        table: "api_key",
        column: "account",
        id: key.id.to_string(),
    })?;
    Ok((key, account))
}

/// The account, at that moment, if the caller may know of it.
pub(crate) async fn account_in(tx: &ReadTx, permit: &Permit, id: &AccountId) -> Result<Account, Failure> {
    visible(tx.account(id).await?, |account| permit.covers(&account.id), Failure::AccountNotFound)
}

/// The event of a change to a key.
pub(crate) fn key_event(
    permit: &Permit,
    action: Action,
    mark: Option<RequestMark>,
    before: Option<&Key>,
    after: Option<&Key>,
    now: Timestamp,
) -> Result<AuditEvent, Failure> {
    let key = after.or(before).ok_or(Failure::KeyNotFound)?;
    Ok(AuditEvent {
        actor: permit.actor()?,
        action,
        account: key.account.clone(),
        key_id: Some(key.id.clone()),
        request: mark,
        before: before.map(|key| snapshot::of_key(key, now)),
        after: after.map(|key| snapshot::of_key(key, now)),
    })
}
