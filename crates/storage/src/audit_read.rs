//! Reading the log.

use std::ops::RangeInclusive;

use key_authority_domain::actor_check::ActorCheck;
use key_authority_domain::audit::{Action, ChainCheck, ChainFault, ChainHash, LoggedEvent};
use key_authority_domain::id::{AccountId, Actor, KeyId, Revision};
use key_authority_domain::time::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait};
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
        let Some(span) = self.span(query, after).await? else { return Ok(Page { items: Vec::new(), next: None }) };
        let mut select = Entity::find()
            .filter(Column::Revision.gte(after.next().max(*span.start()).0))
            .order_by_asc(Column::Revision)
            .limit(u64::from(size) + 1);
        if query.end.is_some() {
            // Where it bounds nothing it would seem to, and keep SQLite from the index of an account or a key.
            select = select.filter(Column::Revision.lte(span.end().0));
        }
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

    /// Between which revisions the events of the query's time lie; None when there are none.
    ///
    /// Times need not follow revisions, since a clock may be set back, and the page is in order of revisions: walked from
    /// its beginning it would pass all that is older first. A page behind another has found its beginning.
    async fn span(
        &self,
        query: &EventQuery,
        after: Revision,
    ) -> Result<Option<RangeInclusive<Revision>>, StorageError> {
        if query.end.is_none() && (query.start.is_none() || after.0 > 0) {
            return Ok(Some(Revision(i64::MIN)..=Revision(i64::MAX)));
        }
        // An expression in place of the column: of the column itself, databases look for the least and the greatest by
        // walking the log.
        let revision = || Expr::col(Column::Revision).add(0);
        let mut select =
            Entity::find().select_only().column_as(revision().min(), "first").column_as(revision().max(), "last");
        if let Some(start) = query.start {
            select = select.filter(Column::EventTime.gte(start.micros()));
        }
        if let Some(end) = query.end {
            select = select.filter(Column::EventTime.lt(end.micros()));
        }
        let found: Option<(Option<i64>, Option<i64>)> =
            bounded(async { Ok(select.into_tuple().one(&self.db).await?) }).await?;
        Ok(match found {
            Some((Some(first), Some(last))) => Some(Revision(first)..=Revision(last)),
            _ => None,
        })
    }

    /// Walks the whole log and proves that no event was altered, dropped or inserted, and that no actor changed anything
    /// after its end. Only with `kept`, a head of the log
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
        let mut actors = ActorCheck::default();
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
                    Ok(logged) => {
                        let mut faults = check.event(&logged).err().unwrap_or_default();
                        faults.extend(actors.event(&logged));
                        faults
                    }
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
