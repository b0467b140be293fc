//! The pipeline that every change goes through.
//!
//! t0: the change waits for its turn and for the lock on the head of the log ([`Store::begin_with`]).
//! t1: under the lock, the caller is authorized again by the state in the transaction.
//! t2: a request that was made before is answered from its event; t3 and t4 are skipped.
//! t3: the handler reads, checks and writes.
//! t4: rows and audit event are committed together, as the next revision.
//! t5: every replica enforces the revision, or has no lease.
//!
//! A transaction that the database aborted in favour of another restarts at t0.
//!
//! [`Store::begin_with`]: key_authority_storage::Store::begin_with

use std::time::Duration;

use key_authority_domain::audit::{Action, AuditEvent, IdempotencyKey, LoggedEvent};
use key_authority_proto::v1;
use key_authority_replica::protocol::wait::CommittedChange;
use key_authority_storage::read_tx::{ReadTx, RequestIdReused};
use key_authority_storage::write_tx::{Committed, WriteTx};
use key_authority_storage::{StorageError, Urgency};

use super::audited::AuditRecord;
use super::context::Admin;
use super::replay::Replay;
use crate::auth::call::Call;
use crate::auth::permit::TxPermit;
use crate::rpc::errors::RpcError;
use crate::wire::propagation::propagation_to_proto;

/// How often an aborted transaction is retried. The caller's deadline may end the retries earlier.
const CONFLICT_RETRIES: u32 = 20;
/// The pause before a retry, times the number of tries.
const CONFLICT_PAUSE: Duration = Duration::from_millis(2);

/// What a handler returns for a change: the transaction, the result, and the audit record, if anything changed.
pub(super) type ChangeResult<'s, R, E> = Result<(WriteTx<'s>, R, E), RpcError>;

/// A committed change.
pub(super) struct Mutated<R> {
    /// The result.
    pub(super) result: R,
    /// The change to wait for; `None` if nothing was changed.
    pub(super) change: Option<CommittedChange>,
}

impl Admin {
    /// Runs `change` in a transaction (t0 to t4), unless a request with one of these `request_keys` was made before.
    ///
    /// `change` gets the transaction and the caller as authorized in it. It may run again from the beginning.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` or `PERMISSION_DENIED` if the caller's key has ended since the call arrived: then nothing is
    /// changed.
    pub(super) async fn transact<'s, R, E, F>(
        &'s self,
        call: &Call,
        action: Action,
        request_keys: &[IdempotencyKey],
        change: impl Fn(WriteTx<'s>, TxPermit) -> F,
    ) -> Result<Mutated<R>, RpcError>
    where
        R: Replay,
        E: Into<Option<AuditRecord>>,
        F: Future<Output = ChangeResult<'s, R, E>>,
    {
        let mut tries = 0;
        loop {
            match self.transact_once(call, action, request_keys, &change).await {
                Err(RpcError::Storage(StorageError::Conflict(_))) if tries < CONFLICT_RETRIES => {
                    tries += 1;
                    tokio::time::sleep(CONFLICT_PAUSE * tries).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn transact_once<'s, R, E, F>(
        &'s self,
        call: &Call,
        action: Action,
        request_keys: &[IdempotencyKey],
        change: &impl Fn(WriteTx<'s>, TxPermit) -> F,
    ) -> Result<Mutated<R>, RpcError>
    where
        R: Replay,
        E: Into<Option<AuditRecord>>,
        F: Future<Output = ChangeResult<'s, R, E>>,
    {
        let actor = call.permit.actor()?;
        let tx = self.changes.begin_with(urgency(action), Some(&actor)).await?;
        // The authority's time advances while the change waits for the lock.
        let tx = tx.not_before(self.replica.time());
        let permit = call.permit.authorize_in(&tx).await?;
        if let Some(logged) = replayed(&tx, &permit, request_keys).await? {
            let result = R::replay(&tx, &permit, &logged).await?;
            tx.commit_unchanged().await?;
            return Ok(Mutated { result, change: Some(of_event(&logged)) });
        }
        let author = permit.author();
        let (tx, result, record) = change(tx, permit).await?;
        let Some(record) = record.into() else {
            tx.commit_unchanged().await?;
            return Ok(Mutated { result, change: None });
        };
        let AuditRecord { account, key_id, before, after, added_scopes, is_preparation, action: other, subject } =
            record;
        let request = request_keys.first().filter(|_| !is_preparation).map(|key| author.idempotency_key(key));
        let action = other.unwrap_or(action);
        author.check_change(action, &added_scopes)?;
        let subject = author.subject().cloned().or(subject);
        let actor = author.actor;
        let event = AuditEvent { actor, subject, action, account, key_id, request, before, after };
        let committed = tx.commit(event).await?;
        Ok(Mutated { result, change: Some(of_commit(&committed)) })
    }

    /// Runs a change as [`Admin::transact`] does, and waits until every replica enforces it (t5). A repeated request
    /// waits again: that its change is committed does not prove that all replicas have it.
    ///
    /// # Errors
    /// As [`Admin::transact`], and if the caller's deadline passes before all replicas are known to enforce the change.
    pub(super) async fn mutate<'s, R, F>(
        &'s self,
        call: &Call,
        action: Action,
        request_keys: &[IdempotencyKey],
        change: impl Fn(WriteTx<'s>, TxPermit) -> F,
    ) -> Result<(R, Option<v1::Propagation>), RpcError>
    where
        R: Replay,
        F: Future<Output = ChangeResult<'s, R, AuditRecord>>,
    {
        let Mutated { result, change } = self.transact(call, action, request_keys, change).await?;
        let propagation = match change {
            Some(change) => Some(propagation_to_proto(&self.wait(call, change).await?)),
            None => None,
        };
        Ok((result, propagation))
    }
}

/// Returns the urgency of an action: revoking, disabling and suspending precede the others.
fn urgency(action: Action) -> Urgency {
    match action {
        Action::RevokeKey | Action::RevokeKeys | Action::RevokeToken | Action::DisableKey | Action::SuspendAccount => {
            Urgency::Ending
        }
        _ => Urgency::Ordinary,
    }
}

/// Checks that every replica can apply an event of this kind.
///
/// # Errors
/// `REPLICAS_DIFFER`.
pub(super) async fn check_log_format(tx: &ReadTx, action: Action) -> Result<(), RpcError> {
    let is_known = tx.replicas().await?.iter().all(|replica| replica.log_format() >= action.log_format());
    if is_known { Ok(()) } else { Err(RpcError::ReplicasDiffer) }
}

/// Returns the event of an earlier request with any of these keys.
///
/// # Errors
/// `REQUEST_ID_REUSED` if a request ID was used for a request with other parameters.
pub(super) async fn replayed(
    tx: &ReadTx,
    permit: &TxPermit,
    request_keys: &[IdempotencyKey],
) -> Result<Option<LoggedEvent>, RpcError> {
    let mut is_reused = false;
    let author = permit.author();
    for key in request_keys {
        match tx.find_replayed(&author.actor, &author.idempotency_key(key)).await? {
            Ok(None) => {}
            Ok(logged) => return Ok(logged),
            Err(RequestIdReused) => is_reused = true,
        }
    }
    if is_reused { Err(RpcError::RequestIdReused) } else { Ok(None) }
}

fn of_commit(committed: &Committed) -> CommittedChange {
    CommittedChange { revision: committed.revision, hash: Some(committed.hash) }
}

/// Returns the change that an event records.
pub(super) fn of_event(logged: &LoggedEvent) -> CommittedChange {
    CommittedChange { revision: logged.revision, hash: Some(logged.hash) }
}
