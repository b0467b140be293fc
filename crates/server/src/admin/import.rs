//! Taking over keys of another system: a message of them is one change.
//!
//! What is computed about ten thousand keys takes long enough to be in the way of other calls, so it is done on threads of
//! its own; what the database must say, it is asked about many at once.

mod plan;

use std::sync::Arc;

use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, IdempotencyKey, LoggedEvent};
use key_authority_domain::id::AccountId;
use key_authority_domain::policy_error::PolicyError;
use key_authority_domain::secret::Keyring;
use key_authority_proto::v1;
use key_authority_replica::protocol::wait::Change;
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

/// What a transaction of an import came to.
enum Import {
    /// What becomes of each key.
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
    /// `ImportKeys`, one message of it.
    pub(super) async fn import_keys(
        &self,
        call: &Call,
        request: v1::ImportKeysRequest,
    ) -> Result<v1::ImportKeysResponse, RpcError> {
        let keyring = Arc::clone(&self.keyring);
        let (spec, keys, candidates) = computed(move || read(&keyring, request)).await??;
        let (spec, keys, candidates) = (&spec, &keys, &Arc::new(candidates));
        if let Some(answer) = self.import_unchanged(call, spec, keys, candidates).await? {
            return Ok(answer);
        }
        let Mutated { result, change } = self
            .transact(call, Action::ImportKeys, keys, |tx, permit| async move {
                let account = account_to_fill(&tx, &permit, &spec.account).await?;
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
                // A message may bring only what exists already, and its caller may not know that every replica has it.
                let existing = || plan.newest_existing().map(|revision| Change { revision, hash: None });
                let change = change.or_else(existing);
                self.respond(call, plan, change).await
            }
            Import::Repeated(logged) => self.repeat(call, spec, candidates, &logged).await,
        }
    }

    /// The answer to a dry run, and to a message that was imported before: neither waits for the lock.
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
            let account = account_to_fill(&tx, &permit, &spec.account).await?;
            return Ok(Some(self.plan(&tx, &permit, account, candidates, false).await?.response()));
        }
        let Some(logged) = replayed(&tx, &permit, keys).await? else { return Ok(None) };
        drop(tx);
        self.changes.await_durability().await?;
        self.repeat(call, spec, candidates, &logged).await.map(Some)
    }

    /// The answer to a message that was imported before, as the change of `logged`. What was imported stands, whatever has
    /// become of the account and the replicas since.
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

    /// What becomes of the keys, as things stand in the transaction.
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
        computed(move || planner.plan(&candidates, existing)).await?
    }

    /// The response, once every replica enforces the change.
    async fn respond(
        &self,
        call: &Call,
        plan: ImportPlan,
        change: Option<Change>,
    ) -> Result<v1::ImportKeysResponse, RpcError> {
        let propagation = match change {
            Some(change) => Some(propagation_to_proto(&self.wait(call, change).await?)),
            None => None,
        };
        Ok(v1::ImportKeysResponse { propagation, ..plan.response() })
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
    let keyed = |key: IdempotencyKey| {
        keyring.keyed_digest(&key.digest).map(|digest| IdempotencyKey { digest, ..key.clone() }).collect()
    };
    let idempotency_keys = spec.request.take().map_or_else(Vec::new, keyed);
    let keys = std::mem::take(&mut spec.keys).into_iter();
    Ok((spec, idempotency_keys, keys.map(|key| key.map(|key| Candidate::new(keyring, key))).collect()))
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
