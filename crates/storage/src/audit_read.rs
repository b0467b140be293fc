//! Reading the log.

use key_authority_domain::audit::{Action, ChainCheck, ChainFault, LoggedEvent};
use key_authority_domain::id::{AccountId, Actor, KeyId, Revision};
use key_authority_domain::time::Timestamp;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::entity::audit_event::{Column, Entity};
use crate::error::StorageError;
use crate::page::{AccountScope, Page, cut};
use crate::rows::event::to_domain;
use crate::store::{Store, bounded};

/// How many events a check of the chain reads at once.
const CHECK_BATCH: u64 = 2_000;

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

    /// Walks the whole log and proves that no event was altered, dropped or inserted. `progress` is told how many were
    /// checked so far.
    ///
    /// Events that are committed while it runs are not part of the proof: the walk ends at the head it began with.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn verify_log(&self, mut progress: impl FnMut(u64)) -> Result<LogProof, StorageError> {
        let head = self.head().await?;
        let mut check = ChainCheck::new(&self.keyring);
        // From before the first revision on: what was inserted there is a fault too.
        let (mut faults, mut checked, mut after) = (Vec::new(), 0_u64, i64::MIN);
        loop {
            let rows = bounded(async {
                let select = Entity::find().filter(Column::Revision.gt(after)).order_by_asc(Column::Revision);
                Ok(select.limit(CHECK_BATCH).all(&self.db).await?)
            })
            .await?;
            let is_last = (rows.len() as u64) < CHECK_BATCH;
            for row in rows {
                after = row.revision;
                // What stands beyond the head now may have been committed since; at the head of then it was not there.
                if after > head.revision.0 && self.head().await?.revision.0 >= after {
                    continue;
                }
                let revision = Revision(row.revision);
                match to_domain(row) {
                    Ok(logged) => faults.extend(check.event(&logged).err().into_iter().flatten()),
                    Err(StorageError::Corrupt { .. }) => faults.push(ChainFault::Altered { revision }),
                    Err(error) => return Err(error),
                }
                checked += 1;
            }
            progress(checked);
            if is_last {
                break;
            }
        }
        faults.extend(check.finish(head.revision, head.hash).err().into_iter().flatten());
        Ok(LogProof { head: head.revision, checked, faults })
    }
}

/// What a walk over the log found.
#[derive(Debug)]
pub struct LogProof {
    /// The head of the log when the walk began.
    pub head: Revision,
    /// How many events were checked.
    pub checked: u64,
    /// What was found; empty when the log is what was written.
    pub faults: Vec<ChainFault>,
}
