//! `ImportKeys`: each message of keys from another system is one change.
//!
//! The computation for ten thousand keys would delay other calls, so it runs on blocking threads. The database is
//! queried for many keys at once.

mod plan;

use std::sync::Arc;

use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, IdempotencyKey, LoggedEvent};
use key_authority_domain::id::AccountId;
use key_authority_domain::policy_error::PolicyError;
use key_authority_domain::secret::Keyring;
use key_authority_proto::v1;
use key_authority_replica::protocol::wait::CommittedChange;
use key_authority_storage::read_tx::ReadTx;

use self::plan::{Candidate, ExistingKeys, ImportPlan, ImportPlanner};
use super::audited::account_in;
use super::context::Admin;
use super::mutate::{Mutated, of_event, replayed};
use super::replay::Replay;
use crate::auth::call::Call;
use crate::auth::permit::TxPermit;
use crate::rpc::errors::RpcError;
use crate::wire::import::{self, ImportSpec};
use crate::wire::propagation::propagation_to_proto;
use crate::wire::violations::Violations;

/// The result of a transaction of an import.
enum Import {
    /// The plan for each key.
    Planned(ImportPlan),
    /// The message was imported before, with this event.
    Repeated(Box<LoggedEvent>),
}

impl Replay for Import {
    async fn replay(_: &ReadTx, _: &TxPermit, logged: &LoggedEvent) -> Result<Self, RpcError> {
        Ok(Self::Repeated(Box::new(logged.clone())))
    }
}

impl Admin {
    /// Imports one message of `ImportKeys`.
    pub(super) async fn import_keys(
        &self,
        call: &Call,
        request: v1::ImportKeysRequest,
    ) -> Result<v1::ImportKeysResponse, RpcError> {
        let keyring = Arc::clone(&self.keyring);
        let (spec, keys, candidates) = spawn_compute(move || read(&keyring, request)).await??;
        let (spec, keys, candidates) = (&spec, &keys, &Arc::new(candidates));
        if let Some(answer) = self.import_unchanged(call, spec, keys, candidates).await? {
            return Ok(answer);
        }
        let Mutated { result, change } = self
            .transact(call, Action::ImportKeys, keys, |tx, permit| async move {
                let account = importable_account(&tx, &permit, &spec.account).await?;
                let mut plan = self.plan(&tx, &permit, account, candidates, false).await?;
                let record = plan.record.take();
                if record.is_some() {
                    tx.insert_keys(&plan.keys).await?;
                }
                Ok((tx, Import::Planned(plan), record))
            })
            .await?;
        match result {
            Import::Planned(plan) => {
                // A message may name only keys that exist already, and its caller may not know that every replica has
                // them.
                let existing = || plan.newest_existing().map(|revision| CommittedChange { revision, hash: None });
                let change = change.or_else(existing);
                self.respond(call, plan, change).await
            }
            Import::Repeated(logged) => self.repeat(call, spec, candidates, &logged).await,
        }
    }

    /// Answers a dry run, or a message that was imported before, without waiting for the lock.
    async fn import_unchanged(
        &self,
        call: &Call,
        spec: &ImportSpec,
        keys: &[IdempotencyKey],
        candidates: &Arc<Candidates>,
    ) -> Result<Option<v1::ImportKeysResponse>, RpcError> {
        if !spec.dry_run && keys.is_empty() {
            return Ok(None);
        }
        let tx = self.store.begin_reading().await?.not_before(self.replica.time());
        let permit = call.permit.authorize_in(&tx).await?;
        if spec.dry_run {
            let account = importable_account(&tx, &permit, &spec.account).await?;
            return Ok(Some(self.plan(&tx, &permit, account, candidates, false).await?.response()));
        }
        let Some(logged) = replayed(&tx, &permit, keys).await? else { return Ok(None) };
        drop(tx);
        self.changes.await_durability().await?;
        self.repeat(call, spec, candidates, &logged).await.map(Some)
    }

    /// Answers a message that was imported before, by the change of `logged`. The import stands, no matter what has
    /// happened to the account and the replicas since.
    async fn repeat(
        &self,
        call: &Call,
        spec: &ImportSpec,
        candidates: &Arc<Candidates>,
        logged: &LoggedEvent,
    ) -> Result<v1::ImportKeysResponse, RpcError> {
        let tx = self.store.begin_reading().await?.not_before(self.replica.time());
        let permit = call.permit.authorize_in(&tx).await?;
        let account = account_in(&tx, &permit, &spec.account).await?;
        let plan = self.plan(&tx, &permit, account, candidates, true).await?;
        drop(tx);
        self.respond(call, plan.replayed(logged.revision), Some(of_event(logged))).await
    }

    /// Plans the import of the keys, given the state in the transaction.
    async fn plan(
        &self,
        tx: &ReadTx,
        permit: &TxPermit,
        account: Account,
        candidates: &Arc<Candidates>,
        is_repeated: bool,
    ) -> Result<ImportPlan, RpcError> {
        let planner = ImportPlanner::new(account, permit.actor().clone(), tx, Arc::clone(&self.keyring));
        let existing = ExistingKeys::read(tx, candidates, planner.account(), is_repeated).await?;
        let candidates = Arc::clone(candidates);
        spawn_compute(move || planner.plan(&candidates, existing)).await?
    }

    /// Returns the response, once every replica enforces the change.
    async fn respond(
        &self,
        call: &Call,
        plan: ImportPlan,
        change: Option<CommittedChange>,
    ) -> Result<v1::ImportKeysResponse, RpcError> {
        let propagation = match change {
            Some(change) => Some(propagation_to_proto(&self.wait(call, change).await?)),
            None => None,
        };
        Ok(v1::ImportKeysResponse { propagation, ..plan.response() })
    }
}

/// Reads the account, if new keys may be imported into it.
async fn importable_account(tx: &ReadTx, permit: &TxPermit, id: &AccountId) -> Result<Account, RpcError> {
    let account = account_in(tx, permit, id).await?;
    if account.id.is_system() {
        return Err(PolicyError::AccountReserved.into());
    }
    if account.suspended {
        return Err(PolicyError::AccountSuspended.into());
    }
    // A replica with a build that predates imports would apply the event of one without reading its keys.
    let needed = Action::ImportKeys.log_format();
    let know_imports = tx.replicas().await?.iter().all(|replica| replica.log_format() >= needed);
    if know_imports { Ok(account) } else { Err(RpcError::ReplicasDiffer) }
}

type Candidates = Vec<Result<Candidate, Violations>>;

/// Reads a message: its parameters, its idempotency keys (the first one is for the log), and its keys.
fn read(
    keyring: &Keyring,
    request: v1::ImportKeysRequest,
) -> Result<(ImportSpec, Vec<IdempotencyKey>, Candidates), RpcError> {
    let mut spec = import::import_keys(request)?;
    // The request digest was computed over tokens, so it is keyed before it is stored.
    let keyed = |key: IdempotencyKey| {
        keyring.keyed_digest(&key.digest).map(|digest| IdempotencyKey { digest, ..key.clone() }).collect()
    };
    let idempotency_keys = spec.request.take().map_or_else(Vec::new, keyed);
    let keys = std::mem::take(&mut spec.keys).into_iter();
    Ok((spec, idempotency_keys, keys.map(|key| key.map(|key| Candidate::new(keyring, key))).collect()))
}

/// Runs `work` on a blocking thread, where no other call waits for it.
async fn spawn_compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, RpcError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime shuts down.
        Err(_) => Err(RpcError::DeadlineExceeded),
    }
}
