//! Taking over keys of another system: a message of them is one change.
//!
//! What is computed about ten thousand keys takes long enough to be in the way of other calls, so it is done on threads of
//! its own; what the database must say, it is asked about many at once.

mod judge;

use std::sync::Arc;

use key_authority_domain::account::Account;
use key_authority_domain::audit::{AuditEvent, LoggedEvent, RequestMark};
use key_authority_domain::id::{AccountId, Revision};
use key_authority_domain::refusal::Refusal;
use key_authority_domain::secret::Keyring;
use key_authority_proto::v1;
use key_authority_storage::read_tx::ReadTx;
use key_authority_storage::write_tx::WriteTx;

use self::judge::{Candidate, Judge, Judged, There};
use super::{Admin, Begun, account_in, seen_in};
use crate::FEED;
use crate::caller::Permit;
use crate::status::Failure;
use crate::wire::import::{self, ImportSpec};
use crate::wire::propagation::propagation_to_proto;
use crate::wire::violations::Violations;

impl Admin {
    /// `ImportKeys`, one message of it.
    pub(crate) async fn import_keys(
        &self,
        permit: &Permit,
        request: v1::ImportKeysRequest,
    ) -> Result<v1::ImportKeysResponse, Failure> {
        let keyring = Arc::clone(&self.keyring);
        let (spec, marks, candidates) = computed(move || read(&keyring, request)).await??;
        if spec.dry_run {
            let tx = self.store.begin_reading().await?;
            let account = account_to_fill(&tx, permit, &spec.account).await?;
            return Ok(self.judged(&tx, permit, account, candidates).await?.answer());
        }
        match self.begin_import(permit, &marks).await? {
            Begun::New(tx) => {
                let account = account_to_fill(&tx, permit, &spec.account).await?;
                let judged = self.judged(&tx, permit, account, candidates).await?;
                self.write(tx, judged, marks.into_iter().next()).await
            }
            // What was imported before stands, whatever has become of the account and the replicas since.
            Begun::Seen(LoggedEvent { revision, .. }) => {
                let tx = self.store.begin_reading().await?;
                let account = account_in(&tx, permit, &spec.account).await?;
                let judged = self.judged(&tx, permit, account, candidates).await?;
                drop(tx);
                self.answered(judged.recalled(revision), Some(revision)).await
            }
        }
    }

    /// Begins a change, unless the same message was imported before: a repeated one waits for no change and holds none up.
    async fn begin_import(&self, permit: &Permit, marks: &[RequestMark]) -> Result<Begun<'_>, Failure> {
        if !marks.is_empty() {
            let tx = self.store.begin_reading().await?;
            if let Some(logged) = seen_in(&tx, permit, marks).await? {
                return Ok(Begun::Seen(logged));
            }
        }
        self.begin_as(permit, marks).await
    }

    /// What comes of the keys at that moment.
    async fn judged(
        &self,
        tx: &ReadTx,
        permit: &Permit,
        account: Account,
        candidates: Candidates,
    ) -> Result<Judged, Failure> {
        let judge = Judge::new(account, permit.actor()?, tx, Arc::clone(&self.keyring));
        let there = There::look(tx, &candidates, judge.account()).await?;
        computed(move || judge.judge(candidates, there)).await?
    }

    async fn write(
        &self,
        tx: WriteTx<'_>,
        mut judged: Judged,
        request: Option<RequestMark>,
    ) -> Result<v1::ImportKeysResponse, Failure> {
        let revision = if let Some(event) = judged.event.take() {
            tx.insert_keys(&judged.keys).await?;
            Some(tx.commit(AuditEvent { request, ..event }).await?.revision)
        } else {
            // Whoever brings only what is there may not have heard that it is everywhere.
            drop(tx);
            judged.newest_existing()
        };
        self.answered(judged, revision).await
    }

    /// The answer, when all of it is everywhere.
    async fn answered(&self, judged: Judged, revision: Option<Revision>) -> Result<v1::ImportKeysResponse, Failure> {
        let propagation = match revision {
            Some(revision) => Some(propagation_to_proto(&self.everywhere(revision).await?)),
            None => None,
        };
        Ok(v1::ImportKeysResponse { propagation, ..judged.answer() })
    }
}

/// The account, if anything new may be imported into it.
async fn account_to_fill(tx: &ReadTx, permit: &Permit, id: &AccountId) -> Result<Account, Failure> {
    let account = account_in(tx, permit, id).await?;
    if account.id.is_system() {
        return Err(Refusal::AccountReserved.into());
    }
    if account.suspended {
        return Err(Refusal::AccountSuspended.into());
    }
    // A replica that knows of no imports would follow the event of one without reading its keys.
    let are_alike = tx.replicas().await?.iter().all(|replica| replica.build.ends_with(FEED));
    if are_alike { Ok(account) } else { Err(Failure::ReplicasDiffer) }
}

type Candidates = Vec<Result<Candidate, Violations>>;

/// Reads a message: what it asks for, by which marks it may be known, the first for the log, and its keys.
fn read(
    keyring: &Keyring,
    request: v1::ImportKeysRequest,
) -> Result<(ImportSpec, Vec<RequestMark>, Candidates), Failure> {
    let mut spec = import::import_keys(request)?;
    // Tokens are among what it was made of.
    let concealed = |mark: RequestMark| {
        keyring.conceal(&mark.digest).map(|digest| RequestMark { digest, ..mark.clone() }).collect()
    };
    let marks = spec.request.take().map_or_else(Vec::new, concealed);
    let keys = std::mem::take(&mut spec.keys).into_iter();
    Ok((spec, marks, keys.map(|key| key.map(|key| Candidate::new(keyring, key))).collect()))
}

/// Computes on a thread on which nothing else waits.
async fn computed<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The server ends.
        Err(_) => Err(Failure::TooLate),
    }
}
