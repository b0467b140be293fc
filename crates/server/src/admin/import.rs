//! Taking over keys of another system: a message of them is one change.
//!
//! What is computed about ten thousand keys takes long enough to be in the way of other calls, so it is done on threads of
//! its own; what the database must say, it is asked about many at once.

mod judge;

use std::sync::Arc;

use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, AuditEvent, IdempotencyKey, LoggedEvent};
use key_authority_domain::id::AccountId;
use key_authority_domain::policy_error::PolicyError;
use key_authority_domain::secret::Keyring;
use key_authority_proto::v1;
use key_authority_replica::propagation::Change;
use key_authority_storage::Urgency;
use key_authority_storage::read_tx::ReadTx;

use self::judge::{Candidate, Judge, Judged, There};
use super::context::{Admin, account_in, replayed_in};
use super::mutate::{Mutated, of_commit, of_event};
use crate::auth::permit::{Permit, TxPermit};
use crate::rpc::errors::RpcError;
use crate::wire::import::{self, ImportSpec};
use crate::wire::propagation::propagation_to_proto;
use crate::wire::violations::Violations;

impl Admin {
    /// `ImportKeys`, one message of it.
    pub(crate) async fn import_keys(
        &self,
        permit: &Permit,
        request: v1::ImportKeysRequest,
    ) -> Result<v1::ImportKeysResponse, RpcError> {
        let keyring = Arc::clone(&self.keyring);
        let (spec, marks, candidates) = computed(move || read(&keyring, request)).await??;
        let (spec, marks, candidates) = (&spec, &marks, &Arc::new(candidates));
        if let Some(answer) = self.import_unchanged(permit, spec, marks, candidates).await? {
            return Ok(answer);
        }
        match self
            .transact(permit, Urgency::Ordinary, marks, |tx, permit| async move {
                let account = account_to_fill(&tx, &permit, &spec.account).await?;
                let mut judged = self.judged(&tx, &permit, account, candidates, false).await?;
                let event = judged.event.take();
                if event.is_some() {
                    tx.insert_keys(&judged.keys).await?;
                }
                let request = marks.first().cloned();
                Ok((tx, judged, event.map(|event| AuditEvent { request, ..event })))
            })
            .await?
        {
            Mutated::Applied((judged, Some(committed))) => self.answered(judged, Some(of_commit(&committed))).await,
            // The caller brings only what is there, and may not know that every replica has it.
            Mutated::Applied((judged, None)) => {
                let newest = judged.newest_existing().map(|revision| Change { revision, hash: None });
                self.answered(judged, newest).await
            }
            Mutated::Replayed(logged) => self.repeated(permit, spec, candidates, &logged).await,
        }
    }

    /// The answer to a dry run, and to a message that was imported before: neither waits for the lock.
    async fn import_unchanged(
        &self,
        permit: &Permit,
        spec: &ImportSpec,
        marks: &[IdempotencyKey],
        candidates: &Arc<Candidates>,
    ) -> Result<Option<v1::ImportKeysResponse>, RpcError> {
        if !spec.dry_run && marks.is_empty() {
            return Ok(None);
        }
        let tx = self.store.begin_reading().await?.not_before(self.view.time());
        let tx_permit = permit.judge_in(&tx).await?;
        if spec.dry_run {
            let account = account_to_fill(&tx, &tx_permit, &spec.account).await?;
            return Ok(Some(self.judged(&tx, &tx_permit, account, candidates, false).await?.answer()));
        }
        let Some(logged) = replayed_in(&tx, &tx_permit, marks).await? else { return Ok(None) };
        drop(tx);
        self.store.await_durability().await?;
        self.repeated(permit, spec, candidates, &logged).await.map(Some)
    }

    /// The answer to a message that was imported before, as the change of `logged`. What was imported stands, whatever has
    /// become of the account and the replicas since.
    async fn repeated(
        &self,
        permit: &Permit,
        spec: &ImportSpec,
        candidates: &Arc<Candidates>,
        logged: &LoggedEvent,
    ) -> Result<v1::ImportKeysResponse, RpcError> {
        let tx = self.store.begin_reading().await?.not_before(self.view.time());
        let permit = permit.judge_in(&tx).await?;
        let account = account_in(&tx, &permit, &spec.account).await?;
        let judged = self.judged(&tx, &permit, account, candidates, true).await?;
        drop(tx);
        self.answered(judged.recalled(logged.revision), Some(of_event(logged))).await
    }

    /// What comes of the keys at that moment.
    async fn judged(
        &self,
        tx: &ReadTx,
        permit: &TxPermit,
        account: Account,
        candidates: &Arc<Candidates>,
        is_repeated: bool,
    ) -> Result<Judged, RpcError> {
        let judge = Judge::new(account, permit.actor().clone(), tx, Arc::clone(&self.keyring));
        let there = There::look(tx, candidates, judge.account(), is_repeated).await?;
        let candidates = Arc::clone(candidates);
        computed(move || judge.judge(&candidates, there)).await?
    }

    /// The answer, when every replica enforces the change.
    async fn answered(&self, judged: Judged, change: Option<Change>) -> Result<v1::ImportKeysResponse, RpcError> {
        let propagation = match change {
            Some(change) => Some(propagation_to_proto(&self.wait(change).await?)),
            None => None,
        };
        Ok(v1::ImportKeysResponse { propagation, ..judged.answer() })
    }
}

/// The account, if anything new may be imported into it.
async fn account_to_fill(tx: &ReadTx, permit: &TxPermit, id: &AccountId) -> Result<Account, RpcError> {
    let account = account_in(tx, permit, id).await?;
    if account.id.is_system() {
        return Err(PolicyError::AccountReserved.into());
    }
    if account.suspended {
        return Err(PolicyError::AccountSuspended.into());
    }
    // A replica that knows of no imports would follow the event of one without reading its keys.
    let needed = Action::ImportKeys.log_format();
    let know_imports = tx.replicas().await?.iter().all(|replica| replica.log_format() >= needed);
    if know_imports { Ok(account) } else { Err(RpcError::ReplicasDiffer) }
}

type Candidates = Vec<Result<Candidate, Violations>>;

/// Reads a message: what it asks for, by which marks it may be known, the first for the log, and its keys.
fn read(
    keyring: &Keyring,
    request: v1::ImportKeysRequest,
) -> Result<(ImportSpec, Vec<IdempotencyKey>, Candidates), RpcError> {
    let mut spec = import::import_keys(request)?;
    // Tokens are among what it was made of.
    let concealed = |mark: IdempotencyKey| {
        keyring.keyed_digest(&mark.digest).map(|digest| IdempotencyKey { digest, ..mark.clone() }).collect()
    };
    let marks = spec.request.take().map_or_else(Vec::new, concealed);
    let keys = std::mem::take(&mut spec.keys).into_iter();
    Ok((spec, marks, keys.map(|key| key.map(|key| Candidate::new(keyring, key))).collect()))
}

/// Computes on a thread on which nothing else waits.
async fn computed<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, RpcError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The server ends.
        Err(_) => Err(RpcError::TooLate),
    }
}
