//! Reads and verification of the audit log.

use std::ops::RangeInclusive;

use key_authority_domain::actor_check::ActorCheck;
use key_authority_domain::audit::{Action, ChainCheck, ChainError, ChainHash, LoggedEvent};
use key_authority_domain::id::{AccountId, Actor, KeyId, Revision};
use key_authority_domain::time::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{ColumnTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect};

use crate::entity::audit_event::{Column, Entity};
use crate::error::StorageError;
use crate::mapping::event::to_domain;
use crate::one_of::is_one_of;
use crate::page::{AccountScope, Page};
use crate::row_size;
use crate::settings::Head;
use crate::store::Store;
use crate::timeout::bounded;

/// Number of events that the verification reads at once.
const CHECK_BATCH: u64 = 2_000;
/// Maximum number of reported errors, and of events that are read beyond the head.
const ERRORS_MAX: u64 = 1_000;

/// The order of a list of events: that of their revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventOrder {
    /// The oldest event first.
    Oldest,
    /// The newest event first.
    Newest,
}

impl EventOrder {
    /// The cursor of the first page: a revision before all events in this order.
    #[must_use]
    pub const fn start(self) -> Revision {
        match self {
            Self::Oldest => Revision(0),
            Self::Newest => Revision(i64::MAX),
        }
    }
}

/// Which events to list, and in which order.
#[derive(Debug, Clone)]
pub struct EventQuery {
    /// Events of these accounts.
    pub accounts: AccountScope,
    /// Events of this key.
    pub key_id: Option<KeyId>,
    /// Events by this actor.
    pub actor: Option<Actor>,
    /// Events with these actions. Empty: any.
    pub actions: Vec<Action>,
    /// Events at or after this time.
    pub start: Option<Timestamp>,
    /// Events before this time.
    pub end: Option<Timestamp>,
    /// The order.
    pub order: EventOrder,
}

impl EventQuery {
    /// Whether only events of some accounts, of a key or of an actor are read. For them, times are filtered with an
    /// expression, so that the database does not choose the index of the times, which covers all accounts.
    fn is_scoped(&self) -> bool {
        self.accounts != AccountScope::All || self.key_id.is_some() || self.actor.is_some()
    }
}

impl Store {
    /// A page of events, after a revision in the order of the query. It contains fewer than `size` events although more
    /// follow if their rows are large.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn events(
        &self,
        query: &EventQuery,
        size: u32,
        after: Revision,
    ) -> Result<Page<LoggedEvent, Revision>, StorageError> {
        let Some(span) = self.span(query, after).await? else { return Ok(Page { items: Vec::new(), next: None }) };
        let (order, first, last) = match query.order {
            EventOrder::Oldest => (Order::Asc, after.next().max(*span.start()), *span.end()),
            EventOrder::Newest => (Order::Desc, *span.start(), (*span.end()).min(Revision(after.0.saturating_sub(1)))),
        };
        let mut select = Entity::find().order_by(Column::Revision, order.clone()).limit(u64::from(size) + 1);
        // A condition on both ends would keep SQLite from the index of the account or key.
        if query.order == EventOrder::Oldest || (query.start.is_some() && !query.is_scoped()) {
            select = select.filter(Column::Revision.gte(first.0));
        }
        if query.order == EventOrder::Newest || (query.end.is_some() && !query.is_scoped()) {
            select = select.filter(Column::Revision.lte(last.0));
        }
        if let AccountScope::Only(ids) = &query.accounts {
            let ids = ids.iter().map(AccountId::as_str);
            // The events of a key are fewer than those of its account: an expression keeps the database from the index
            // of the account.
            let of_account = match query.key_id {
                Some(_) => Expr::expr(Func::coalesce([Expr::col(Column::Account), Expr::val("")])).is_in(ids),
                None => Column::Account.is_in(ids),
            };
            select = select.filter(of_account);
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
        let time = || {
            let column = Expr::col((Entity, Column::EventTime));
            if query.is_scoped() { column.add(0) } else { column }
        };
        if let Some(start) = query.start {
            select = select.filter(time().gte(start.micros()));
        }
        if let Some(end) = query.end {
            select = select.filter(time().lt(end.micros()));
        }
        bounded(async {
            let bytes = row_size::of_event(self.db.get_database_backend());
            let select = select.select_only().column(Column::Revision).column_as(bytes, "bytes");
            let mut listed: Vec<(i64, i64)> = select.into_tuple().all(&self.db).await?;
            let count = row_size::fitting(listed.iter().map(|(_, bytes)| *bytes)).min(size as usize);
            let has_more = listed.len() > count;
            listed.truncate(count);
            let next = listed.last().filter(|_| has_more).map(|(revision, _)| Revision(*revision));
            if listed.is_empty() {
                return Ok(Page { items: Vec::new(), next });
            }
            let revisions = listed.iter().map(|(revision, _)| *revision);
            let rows = Entity::find().filter(is_one_of(self.db.get_database_backend(), Column::Revision, revisions));
            let rows = rows.order_by(Column::Revision, order).all(&self.db).await?;
            let items = rows.into_iter().map(to_domain).collect::<Result<Vec<_>, _>>()?;
            Ok(Page { items, next })
        })
        .await
    }

    /// The range of revisions that contains all events in the query's time range. None if there are no such events.
    ///
    /// Pages are in revision order, and times may not be, because a clock can be set back. Without the range, the first
    /// page would scan all older events. A following page starts at a known revision.
    ///
    /// The range is an aggregate over the events of all accounts. A query of some accounts, of a key or of an actor
    /// reads only their events, by an index, so it needs no range.
    async fn span(
        &self,
        query: &EventQuery,
        after: Revision,
    ) -> Result<Option<RangeInclusive<Revision>>, StorageError> {
        // The side at which the list ends, the side at which it begins, and whether it has begun.
        let (far, near) = match query.order {
            EventOrder::Oldest => (query.end, query.start),
            EventOrder::Newest => (query.start, query.end),
        };
        if query.is_scoped() || (far.is_none() && (near.is_none() || after != query.order.start())) {
            return Ok(Some(Revision(i64::MIN)..=Revision(i64::MAX)));
        }
        // An expression instead of the column: for the plain column, databases find the minimum and maximum with a scan
        // of the log.
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

    /// Verifies the whole log: no event was altered, removed or inserted, and no actor made a change after its key
    /// ended. Only with `expected`, an earlier head that was stored elsewhere, is truncation of the log together with
    /// its head detected. `progress` is called with the number of events checked so far.
    ///
    /// Events that are committed during the verification are not covered: it ends at the head as of its start.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn verify_log(
        &self,
        expected: Option<Head>,
        mut progress: impl FnMut(u64),
    ) -> Result<LogProof, StorageError> {
        let head = self.head().await?;
        let mut check = ChainCheck::new(&self.keyring, expected.map(|head| (head.revision, head.hash)));
        let mut actors = ActorCheck::default();
        let mut proof = LogProof { head, checked: 0, faults: Vec::new(), unnamed: 0 };
        // Starts before the first revision, to detect events that were inserted there.
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

    /// The events beyond the head. A commit writes an event and the head together, and the head is read after the
    /// events, so a concurrent commit is not reported.
    async fn beyond_head(&self) -> Result<Vec<ChainError>, StorageError> {
        let mut last: Vec<i64> = bounded(async {
            let select = Entity::find().select_only().column(Column::Revision).order_by_desc(Column::Revision);
            Ok(select.limit(ERRORS_MAX).into_tuple().all(&self.db).await?)
        })
        .await?;
        let head = self.head().await?.revision;
        last.retain(|revision| *revision > head.0);
        Ok(last
            .into_iter()
            .rev()
            .map(|revision| ChainError::BeyondHead { revision: Revision(revision), head })
            .collect())
    }
}

/// The result of a verification of the log.
#[derive(Debug)]
pub struct LogProof {
    /// The head of the log at the start.
    pub head: Head,
    /// Number of checked events.
    pub checked: u64,
    /// The first errors. Empty if the log is unchanged.
    pub faults: Vec<ChainError>,
    /// Number of errors beyond those.
    pub unnamed: u64,
}

impl LogProof {
    fn add(&mut self, faults: Vec<ChainError>) {
        for fault in faults {
            if (self.faults.len() as u64) < ERRORS_MAX {
                self.faults.push(fault);
            } else {
                self.unnamed += 1;
            }
        }
    }
}
