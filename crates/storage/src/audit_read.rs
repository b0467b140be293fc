//! Reading the log.

use key_authority_domain::audit::{Action, ChainCheck, ChainFault, ChainHash, LoggedEvent};
use key_authority_domain::id::{AccountId, Actor, KeyId, Revision};
use key_authority_domain::time::Timestamp;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::entity::audit_event::{Column, Entity};
use crate::error::StorageError;
use crate::page::{AccountScope, Page, cut};
use crate::rows::event::to_domain;
use crate::settings::Head;
use crate::store::{Store, bounded};

/// How many events a check of the chain reads at once.
const CHECK_BATCH: u64 = 2_000;
/// Most faults that are kept to be named, and most events that are looked at beyond the head.
const FAULTS_MAX: u64 = 1_000;

/// Which events to list.
#[derive(Debug, Clone)]
pub struct EventQuery {
    /// Of which accounts.
    pub accounts: AccountScope,
    /// Of which key.
    pub key_id: Option<KeyId>,
    /// By whom.
    pub actor: Option<Actor>,
    /// What was done; empty means anything.
    pub actions: Vec<Action>,
    /// From when on.
    pub start: Option<Timestamp>,
    /// Before when.
    pub end: Option<Timestamp>,
}

impl Store {
    /// A page of events in commit order, after a revision.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn events(
        &self,
        query: &EventQuery,
        size: u32,
        after: Revision,
    ) -> Result<Page<LoggedEvent, Revision>, StorageError> {
        let mut select = Entity::find()
            .filter(Column::Revision.gt(after.0))
            .order_by_asc(Column::Revision)
            .limit(u64::from(size) + 1);
        if let AccountScope::Only(ids) = &query.accounts {
            select = select.filter(Column::Account.is_in(ids.iter().map(AccountId::as_str)));
        }
        if let Some(key_id) = &query.key_id {
            select = select.filter(Column::KeyId.eq(key_id.as_str()));
        }
        if let Some(actor) = &query.actor {
            select = select.filter(Column::Actor.eq(actor.as_str()));
        }
        if !query.actions.is_empty() {
            select = select.filter(Column::Action.is_in(query.actions.iter().map(|action| action.number())));
        }
        if let Some(start) = query.start {
            select = select.filter(Column::EventTime.gte(start.micros()));
        }
        if let Some(end) = query.end {
            select = select.filter(Column::EventTime.lt(end.micros()));
        }
        bounded(async {
            let rows = select.all(&self.db).await?;
            let events = rows.into_iter().map(to_domain).collect::<Result<Vec<_>, _>>()?;
            Ok(cut(events, size, |logged| logged.revision))
        })
        .await
    }

    /// Walks the whole log and proves that no event was altered, dropped or inserted. Only with `kept`, a head of the log
    /// as it once was, is it proved that the log was not cut short with its head. `progress` is told how many events were
    /// checked so far.
    ///
    /// Events that are committed while it runs are not part of the proof: the walk ends at the head it began with.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn verify_log(
        &self,
        kept: Option<Head>,
        mut progress: impl FnMut(u64),
    ) -> Result<LogProof, StorageError> {
        let head = self.head().await?;
        let mut check = ChainCheck::new(&self.keyring, kept.map(|head| (head.revision, head.hash)));
        let mut proof = LogProof { head, checked: 0, faults: Vec::new(), unnamed: 0 };
        // From before the first revision on: what was inserted there is a fault too.
        let mut after = i64::MIN;
        loop {
            let rows = bounded(async {
                let select = Entity::find().filter(Column::Revision.gt(after)).order_by_asc(Column::Revision);
                let select = select.filter(Column::Revision.lte(head.revision.0));
                Ok(select.limit(CHECK_BATCH).all(&self.db).await?)
            })
            .await?;
            let is_last = (rows.len() as u64) < CHECK_BATCH;
            for row in rows {
                after = row.revision;
                let (revision, hash) = (Revision(row.revision), row.hash.as_slice().try_into().ok().map(ChainHash));
                proof.add(match to_domain(row) {
                    Ok(logged) => check.event(&logged).err().unwrap_or_default(),
                    Err(StorageError::Corrupt { .. }) => check.unreadable(revision, hash),
                    Err(error) => return Err(error),
                });
                proof.checked += 1;
            }
            progress(proof.checked);
            if is_last {
                break;
            }
        }
        proof.add(check.finish(head.revision, head.hash).err().unwrap_or_default());
        proof.add(self.beyond_head().await?);
        Ok(proof)
    }

    /// The events that stand beyond the head. One that is committed comes with the head that it makes, and the head is
    /// read after the events.
    async fn beyond_head(&self) -> Result<Vec<ChainFault>, StorageError> {
        let mut last: Vec<i64> = bounded(async {
            let select = Entity::find().select_only().column(Column::Revision).order_by_desc(Column::Revision);
            Ok(select.limit(FAULTS_MAX).into_tuple().all(&self.db).await?)
        })
        .await?;
        let head = self.head().await?.revision;
        last.retain(|revision| *revision > head.0);
        Ok(last
            .into_iter()
            .rev()
            .map(|revision| ChainFault::BeyondHead { revision: Revision(revision), head })
            .collect())
    }
}

/// What a walk over the log found.
#[derive(Debug)]
pub struct LogProof {
    /// The head of the log when the walk began.
    pub head: Head,
    /// How many events were checked.
    pub checked: u64,
    /// What was found, as far as it is named; empty when the log is what was written.
    pub faults: Vec<ChainFault>,
    /// How many faults were found beyond those.
    pub unnamed: u64,
}

impl LogProof {
    fn add(&mut self, faults: Vec<ChainFault>) {
        for fault in faults {
            if (self.faults.len() as u64) < FAULTS_MAX {
                self.faults.push(fault);
            } else {
                self.unnamed += 1;
            }
        }
    }
}
