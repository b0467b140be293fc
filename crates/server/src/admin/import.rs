//! `ImportKeys`: each message of keys from another system is imported in parts, each of which is one change.
//!
//! The computation for ten thousand keys would delay other calls, so it runs on blocking threads. The database is
//! queried for many keys at once. Parts are small, so that the changes of other callers wait only for one of them.

mod message;
mod plan;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, LoggedEvent};
use key_authority_domain::id::AccountId;
use key_authority_domain::policy_error::PolicyError;
use key_authority_domain::token::TokenDigest;
use key_authority_proto::v1;
use key_authority_replica::index::SecretMissing;
use key_authority_replica::protocol::wait::CommittedChange;
use key_authority_storage::read_tx::ReadTx;
use prost::Message as _;

use self::message::ImportMessage;
use self::plan::{ExistingKeys, ImportPlan, ImportPlanner, ImportTotal, Mode};
use super::audited::account_in;
use super::context::Admin;
use super::import_queue::Computing;
use super::mutate::{Mutated, check_log_format, of_event, replayed};
use super::replay::Replay;
use crate::auth::call::Call;
use crate::auth::permit::TxPermit;
use crate::rpc::errors::RpcError;
use crate::wire::propagation::propagation_to_proto;

/// The result of a transaction of an import.
enum Import {
    /// The plan for each key.
    Planned(Box<ImportPlan>),
    /// The part was imported before, with this event.
    Repeated(Box<LoggedEvent>),
}

impl Replay for Import {
    async fn replay(_: &ReadTx, _: &TxPermit, logged: &LoggedEvent) -> Result<Self, RpcError> {
        Ok(Self::Repeated(Box::new(logged.clone())))
    }
}

/// How far a message has been imported before its turn.
enum Progress {
    /// Completely, or it is a dry run.
    Answered(v1::ImportKeysResponse),
    /// The first parts: their events, where they had new keys.
    FirstParts(Vec<Option<LoggedEvent>>),
}

impl Admin {
    /// Imports one message of `ImportKeys`.
    pub(super) async fn import_keys(
        &self,
        call: &Call,
        request: v1::ImportKeysRequest,
    ) -> Result<v1::ImportKeysResponse, RpcError> {
        let admitted = Arc::new(self.imports.admit(&call.permit.actor()?, memory_of(&request))?);
        let computing = admitted.computing().await;
        let parsing = self.imports.parsing().await;
        let (keyring, admission) = (Arc::clone(&self.keyring), Arc::clone(&admitted));
        let message = spawn_compute(move || {
            // Work on a blocking thread goes on when its call is given up, and counts as long.
            let _turns = (computing, parsing);
            ImportMessage::read(&keyring, request, admission)
        });
        let message = message.await??;
        let done = match self.progress(call, &message).await? {
            Progress::Answered(answer) => return Ok(answer),
            Progress::FirstParts(done) => done,
        };
        let _turn = admitted.turn().await;
        let (mut total, mut imported) = (ImportTotal::default(), HashSet::new());
        for (number, part) in message.parts.iter().enumerate() {
            if let Some(event) = done.get(number) {
                let (plan, change) = self.repeat(call, &message, part, event.as_ref()).await?;
                total.add(plan, change);
            } else {
                self.import_part(call, &message, number, &mut imported, &mut total).await?;
            }
        }
        self.respond(call, total).await
    }

    /// Imports a part in a transaction of its own, unless it was imported before.
    async fn import_part(
        &self,
        call: &Call,
        message: &ImportMessage,
        number: usize,
        imported: &mut HashSet<TokenDigest>,
        total: &mut ImportTotal,
    ) -> Result<(), RpcError> {
        let Some(part) = message.parts.get(number) else { return Ok(()) };
        let earlier = &*imported;
        let Mutated { result, change } = self
            .transact(call, Action::ImportKeys, &message.keys_of_part(number), |tx, permit| async move {
                if let Some(version) = tx.missing_secret() {
                    // A token that exists already would become a second key.
                    return Err(SecretMissing { version }.into());
                }
                let account = importable_account(&tx, &permit, &message.spec.account).await?;
                let mut plan = self.plan((&tx, &permit), account, message, part, Mode::New(earlier), None).await?;
                let record = plan.record.take();
                if record.is_some() {
                    tx.insert_keys(&plan.keys).await?;
                }
                Ok((tx, Import::Planned(Box::new(plan)), record))
            })
            .await?;
        match result {
            Import::Planned(plan) => {
                imported.extend(plan.digests.iter().copied());
                let change = change.or_else(|| plan.newest_existing_change());
                total.add(*plan, change);
            }
            Import::Repeated(logged) => {
                let (plan, change) = self.repeat(call, message, part, Some(&logged)).await?;
                total.add(plan, change);
            }
        }
        Ok(())
    }

    /// Answers a dry run, or a message that was imported before, without waiting for a turn or for the lock. Otherwise
    /// returns the parts that were imported before.
    async fn progress(&self, call: &Call, message: &ImportMessage) -> Result<Progress, RpcError> {
        let spec = &message.spec;
        if !spec.dry_run && message.request_keys.is_empty() {
            return Ok(Progress::FirstParts(Vec::new()));
        }
        let computing = if spec.dry_run { Some(message.admission.computing().await) } else { None };
        let reading = self.begin_reading(call).await?;
        let (tx, permit) = (&reading.tx, &reading.permit);
        if spec.dry_run {
            let account = importable_account(tx, permit, &spec.account).await?;
            let plan = self
                .plan((tx, permit), account, message, &message.all(), Mode::New(&HashSet::new()), computing)
                .await?;
            let mut total = ImportTotal::default();
            total.add(plan, None);
            return Ok(Progress::Answered(total.response()));
        }
        let mut done = Vec::new();
        for number in 0..message.parts.len() {
            // The first part has the caller's request ID, under which an earlier build imported the whole message.
            let keys = if number == 0 { message.keys_of_first() } else { message.keys_of_part(number) };
            done.push(replayed(tx, permit, &keys).await?);
        }
        drop(reading);
        // What follows the last part with an event may not have been imported.
        done.truncate(done.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
        let Some(first) = done.first() else { return Ok(Progress::FirstParts(done)) };
        self.changes.await_durability().await?;
        let mut total = ImportTotal::default();
        if let Some(whole) = first.as_ref().filter(|event| message.is_whole(event)) {
            let (plan, change) = self.repeat(call, message, &message.all(), Some(whole)).await?;
            total.add(plan, change);
        } else if done.len() == message.parts.len() {
            for (part, event) in message.parts.iter().zip(&done) {
                let (plan, change) = self.repeat(call, message, part, event.as_ref()).await?;
                total.add(plan, change);
            }
        } else {
            return Ok(Progress::FirstParts(done));
        }
        self.respond(call, total).await.map(Progress::Answered)
    }

    /// Plans a part that was imported before, by the change of `logged`; `None` if it had no new keys. The import
    /// stands, no matter what has happened to the account and the replicas since.
    async fn repeat(
        &self,
        call: &Call,
        message: &ImportMessage,
        part: &Range<usize>,
        logged: Option<&LoggedEvent>,
    ) -> Result<(ImportPlan, Option<CommittedChange>), RpcError> {
        let reading = self.begin_reading(call).await?;
        let account = account_in(&reading.tx, &reading.permit, &message.spec.account).await?;
        let plan = self.plan((&reading.tx, &reading.permit), account, message, part, Mode::Repeated, None).await?;
        drop(reading);
        let plan = plan.replayed(logged.map(|logged| logged.revision));
        let change = logged.map(of_event).or_else(|| plan.newest_existing_change());
        Ok((plan, change))
    }

    /// Plans the import of a part, given the state in the transaction. `computing` is held until the plan is made,
    /// also if the call is given up.
    async fn plan(
        &self,
        (tx, permit): (&ReadTx, &TxPermit),
        account: Account,
        message: &ImportMessage,
        part: &Range<usize>,
        mode: Mode<'_>,
        computing: Option<Computing>,
    ) -> Result<ImportPlan, RpcError> {
        let planner = ImportPlanner::new(account, permit.actor().clone(), tx, Arc::clone(&self.keyring));
        let existing = ExistingKeys::read(tx, message.candidates_of(part), planner.account(), mode).await?;
        let (candidates, part) = (Arc::clone(&message.candidates), part.clone());
        let admission = Arc::clone(&message.admission);
        let plan = spawn_compute(move || {
            let _held = (admission, computing);
            planner.plan(&candidates, part, existing)
        });
        plan.await?
    }

    /// Returns the response, once every replica enforces all parts.
    async fn respond(&self, call: &Call, total: ImportTotal) -> Result<v1::ImportKeysResponse, RpcError> {
        let propagation = match total.newest_change {
            Some(change) => Some(propagation_to_proto(&self.wait(call, change).await?)),
            None => None,
        };
        Ok(v1::ImportKeysResponse { propagation, ..total.response() })
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
    check_log_format(tx, Action::ImportKeys).await?;
    Ok(account)
}

/// Returns about how many bytes a message holds: empty elements have few bytes when they are encoded.
fn memory_of(request: &v1::ImportKeysRequest) -> usize {
    const TEXT: usize = size_of::<String>();
    let of_key = |key: &v1::ImportedKey| {
        let projects = key.projects.as_ref().map_or(0, |projects| projects.only.len());
        let texts = key.scopes.len() + key.allowed_networks.len() + projects + 4 * key.labels.len();
        size_of::<v1::ImportedKey>() + TEXT * texts
    };
    request.encoded_len() + request.keys.iter().map(of_key).sum::<usize>()
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
