//! The one pipeline of changes.
//!
//! What every change has in common happens here and nowhere else: the wait for the lock, judging the caller under it, the
//! answer to a repeated request, the commit, and another try where the database gave the transaction up in favour of
//! another. A handler says what is read, checked and written in between.

use std::time::Duration;

use key_authority_domain::audit::{AuditEvent, IdempotencyKey, LoggedEvent};
use key_authority_replica::propagation::{self, Propagation};
use key_authority_storage::write_tx::{Committed, WriteTx};
use key_authority_storage::{StorageError, Urgency};

use super::context::{Admin, replayed_in};
use crate::auth::permit::{Permit, TxPermit};
use crate::rpc::errors::RpcError;

/// How often a transaction is run again that the database gave up in favour of another. The caller's deadline may end it
/// earlier.
const CONFLICT_RETRIES: u32 = 20;
/// The pause before it is run again, times the number of tries.
const CONFLICT_PAUSE: Duration = Duration::from_millis(2);

/// How a transaction ends: with an event, or with one only if something had to be changed.
pub(crate) trait Commit {
    /// The commit, if there is one.
    type Committed;

    async fn commit(self, tx: WriteTx<'_>) -> Result<Self::Committed, StorageError>;
}

impl Commit for AuditEvent {
    type Committed = Committed;

    async fn commit(self, tx: WriteTx<'_>) -> Result<Committed, StorageError> {
        tx.commit(self).await
    }
}

/// Without an event nothing is changed, and what was read is durable.
impl Commit for Option<AuditEvent> {
    type Committed = Option<Committed>;

    async fn commit(self, tx: WriteTx<'_>) -> Result<Option<Committed>, StorageError> {
        match self {
            Some(event) => tx.commit(event).await.map(Some),
            None => tx.commit_unchanged().await.map(|()| None),
        }
    }
}

/// What a handler's part of a change returns: the transaction, a value, and the event to commit.
pub(crate) type ChangeResult<'s, T, E> = Result<(WriteTx<'s>, T, E), RpcError>;

/// What came of a change: `A` where it was made now.
pub(crate) enum Mutated<A> {
    /// It was made now.
    Applied(A),
    /// The same request made it before, with this event.
    Replayed(Box<LoggedEvent>),
}

impl Admin {
    /// Runs `change` in a transaction, unless a request with one of these `marks` was made before.
    ///
    /// `change` gets the transaction and the caller as judged in it. It returns the transaction, a value, and the event to
    /// commit. It may be run again from the beginning.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` or `PERMISSION_DENIED` where the caller has ended since it was let in: then nothing is changed.
    pub(crate) async fn transact<'s, T, E: Commit, F: Future<Output = ChangeResult<'s, T, E>>>(
        &'s self,
        permit: &Permit,
        urgency: Urgency,
        marks: &[IdempotencyKey],
        change: impl Fn(WriteTx<'s>, TxPermit) -> F,
    ) -> Result<Mutated<(T, E::Committed)>, RpcError> {
        let mut tries = 0;
        loop {
            match self.transact_once(permit, urgency, marks, &change).await {
                Err(RpcError::Storage(StorageError::Conflict(_))) if tries < CONFLICT_RETRIES => {
                    tries += 1;
                    tokio::time::sleep(CONFLICT_PAUSE * tries).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn transact_once<'s, T, E: Commit, F: Future<Output = ChangeResult<'s, T, E>>>(
        &'s self,
        permit: &Permit,
        urgency: Urgency,
        marks: &[IdempotencyKey],
        change: &impl Fn(WriteTx<'s>, TxPermit) -> F,
    ) -> Result<Mutated<(T, E::Committed)>, RpcError> {
        // The time that this process judges by goes on while the change waits for the lock.
        let actor = permit.actor()?;
        let tx = self.store.begin_with(urgency, Some(&actor)).await?.not_before(self.view.time());
        let permit = permit.judge_in(&tx).await?;
        if let Some(logged) = replayed_in(&tx, &permit, marks).await? {
            tx.commit_unchanged().await?;
            return Ok(Mutated::Replayed(Box::new(logged)));
        }
        let (tx, value, event) = change(tx, permit).await?;
        let committed = event.commit(tx).await?;
        Ok(Mutated::Applied((value, committed)))
    }

    /// Runs a change as [`Admin::transact`] does, and waits until every replica enforces it. A repeated request waits
    /// again: that its change stands does not say that all replicas know of it.
    ///
    /// # Errors
    /// As [`Admin::transact`], and where the caller's deadline passes before all replicas are known to enforce the change.
    pub(crate) async fn mutate<'s, T, F: Future<Output = ChangeResult<'s, T, AuditEvent>>>(
        &'s self,
        permit: &Permit,
        urgency: Urgency,
        mark: Option<&IdempotencyKey>,
        change: impl Fn(WriteTx<'s>, TxPermit) -> F,
    ) -> Result<(Mutated<T>, Propagation), RpcError> {
        let marks = mark.map_or(&[][..], std::slice::from_ref);
        match self.transact(permit, urgency, marks, change).await? {
            Mutated::Applied((value, committed)) => {
                let propagation = self.wait(of_commit(&committed)).await?;
                Ok((Mutated::Applied(value), propagation))
            }
            Mutated::Replayed(logged) => {
                let propagation = self.wait(of_event(&logged)).await?;
                Ok((Mutated::Replayed(logged), propagation))
            }
        }
    }
}

/// The change that was committed, to wait for.
pub(crate) fn of_commit(committed: &Committed) -> propagation::Change {
    propagation::Change { revision: committed.revision, hash: Some(committed.hash) }
}

/// The change of an event, to wait for.
pub(crate) fn of_event(logged: &LoggedEvent) -> propagation::Change {
    propagation::Change { revision: logged.revision, hash: Some(logged.hash) }
}
