//! `RevokeKeys`: the keys of an account that match a query are revoked together.
//!
//! Up to [`PART_KEYS_MAX`] keys are one change, so that the changes of other callers wait only for a part, and replicas
//! read its keys between two heartbeats.

use key_authority_domain::audit::{Action, LoggedEvent};
use key_authority_domain::id::{KeyId, Revision};
use key_authority_domain::snapshot;
use key_authority_proto::v1;
use key_authority_replica::protocol::wait::CommittedChange;
use key_authority_storage::key_query::KeyQuery;
use key_authority_storage::page::AccountScope;
use key_authority_storage::read_tx::ReadTx;
use key_authority_storage::write_tx::revoke::MatchingKey;

use super::audited::{AuditRecord, account_in};
use super::context::Admin;
use super::mutate::{Mutated, check_log_format};
use super::parts::of_part;
use super::replay::Replay;
use crate::auth::call::Call;
use crate::auth::permit::TxPermit;
use crate::rpc::errors::RpcError;
use crate::wire::key::RevokeKeysSpec;
use crate::wire::{self, propagation::propagation_to_proto};

/// Maximum number of keys that one change revokes.
const PART_KEYS_MAX: usize = 5_000;
/// Maximum size of the rows of these keys, in bytes, unless it is one key. Replicas read them at once.
const PART_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Maximum number of IDs in a response.
const IDS_MAX: usize = 1_000;

/// The keys that one change has revoked.
struct Part {
    count: u64,
    /// The first [`IDS_MAX`] of them.
    ids: Vec<KeyId>,
    /// Whether a later change revokes more keys.
    has_more: bool,
    /// The change before this one.
    previous: Revision,
}

impl Replay for Part {
    async fn replay(tx: &ReadTx, permit: &TxPermit, logged: &LoggedEvent) -> Result<Self, RpcError> {
        let account = account_in(tx, permit, &logged.event.account).await?;
        let after = logged.event.after.as_deref();
        let (count, has_more) = after.and_then(snapshot::read_revocation).ok_or(RpcError::RequestIdReused)?;
        let ids = tx.revoked_together(&account.id, logged.time, IDS_MAX as u64).await?;
        Ok(Self { count, ids, has_more, previous: logged.revision })
    }
}

/// What the parts of a call have revoked.
#[derive(Default)]
struct Total {
    count: u64,
    ids: Vec<String>,
    revisions: Vec<u64>,
}

impl Total {
    fn add(&mut self, part: &Part, change: Option<&CommittedChange>) {
        self.count += part.count;
        let room = IDS_MAX.saturating_sub(self.ids.len());
        self.ids.extend(part.ids.iter().take(room).map(|id| id.as_str().to_owned()));
        let change = change.filter(|_| part.count > 0);
        self.revisions.extend(change.and_then(|change| u64::try_from(change.revision.0).ok()));
    }

    /// The error of a call that fails now.
    fn failed(&self, error: RpcError) -> RpcError {
        match self.count {
            0 => error,
            count => RpcError::FailedAfterChanges { count, source: Box::new(error) },
        }
    }

    fn response(self, propagation: Option<v1::Propagation>) -> v1::RevokeKeysResponse {
        v1::RevokeKeysResponse {
            count: u32::try_from(self.count).unwrap_or(u32::MAX),
            key_ids: self.ids,
            propagation,
            revisions: self.revisions,
        }
    }
}

impl Admin {
    /// `RevokeKeys`.
    pub(super) async fn revoke_keys(
        &self,
        call: &Call,
        request: v1::RevokeKeysRequest,
    ) -> Result<v1::RevokeKeysResponse, RpcError> {
        let spec = wire::key::revoke_keys(&request)?;
        if spec.dry_run {
            return self.report_matching(call, &spec).await;
        }
        let (mut total, mut number) = (Total::default(), 0);
        loop {
            let revoked = self.revoke_part(call, &spec, number).await;
            let Mutated { result: part, change } = revoked.map_err(|error| total.failed(error))?;
            total.add(&part, change.as_ref());
            if !part.has_more {
                // If no key was left, the keys may have been revoked by a change that not every replica enforces yet.
                let newest = change.unwrap_or(CommittedChange { revision: part.previous, hash: None });
                let propagation = self.wait(call, newest).await?;
                return Ok(total.response(Some(propagation_to_proto(&propagation))));
            }
            number += 1;
        }
    }

    /// Revokes the first keys that match, in a transaction of its own.
    async fn revoke_part(&self, call: &Call, spec: &RevokeKeysSpec, number: usize) -> Result<Mutated<Part>, RpcError> {
        let request_key = spec.request.as_ref().map(|key| of_part(key, number));
        self.transact(call, Action::RevokeKeys, request_key.as_slice(), |tx, permit| async move {
            let account = account_in(&tx, &permit, &spec.account).await?;
            check_log_format(&tx, Action::RevokeKeys).await?;
            let (mut ids, mut bytes, mut has_more) = (Vec::new(), 0_u64, false);
            let take = |key: MatchingKey| {
                bytes = bytes.saturating_add(key.bytes);
                has_more = ids.len() == PART_KEYS_MAX || (!ids.is_empty() && bytes > PART_BYTES_MAX);
                if !has_more {
                    ids.push(key.id);
                }
                !has_more
            };
            tx.for_each_unrevoked(&query(spec, &tx), take).await?;
            // A call with a request ID is recorded also if no key matches, so that a repetition revokes no later key.
            let record = (!ids.is_empty() || spec.request.is_some()).then(|| AuditRecord {
                after: Some(snapshot::of_revocation(&account.id, &ids, &spec.reason, has_more)),
                ..AuditRecord::of_account(account.id.clone())
            });
            let mut sorted = ids.clone();
            sorted.sort();
            tx.revoke_keys(&sorted, &spec.reason).await?;
            let (count, previous) = (ids.len() as u64, Revision(tx.revision().0 - 1));
            ids.truncate(IDS_MAX);
            Ok((tx, Part { count, ids, has_more, previous }, record))
        })
        .await
    }

    /// Reports which keys match, without a change.
    async fn report_matching(&self, call: &Call, spec: &RevokeKeysSpec) -> Result<v1::RevokeKeysResponse, RpcError> {
        let reading = self.begin_reading(call).await?;
        let (tx, permit) = (&reading.tx, &reading.permit);
        account_in(tx, permit, &spec.account).await?;
        let mut total = Total::default();
        let count = |key: MatchingKey| {
            total.count += 1;
            if total.ids.len() < IDS_MAX {
                total.ids.push(key.id.as_str().to_owned());
            }
            true
        };
        tx.for_each_unrevoked(&query(spec, tx), count).await?;
        Ok(total.response(None))
    }
}

fn query(spec: &RevokeKeysSpec, tx: &ReadTx) -> KeyQuery {
    KeyQuery {
        ids: spec.ids.clone(),
        labels: spec.labels.clone(),
        created_by: spec.created_by.clone(),
        project: spec.project.clone(),
        created_before: spec.created_before,
        ..KeyQuery::of(AccountScope::Only(vec![spec.account.clone()]), tx.now())
    }
}
