//! Reading many things as they were at one moment.
//!
//! It waits for no change and holds none up. A [`WriteTx`](crate::write_tx::WriteTx) reads in the same way, but holds the
//! lock, so that what it reads is what it will change.

mod holders;

use std::collections::HashSet;

pub use holders::Holder;

use key_authority_domain::account::{Account, CountedKeys};
use key_authority_domain::audit::{IdempotencyKey, LoggedEvent};
use key_authority_domain::id::{AccountId, Actor, KeyId, Revision};
use key_authority_domain::key::{Key, KeyState};
use key_authority_domain::time::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait, Query, SimpleExpr};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, IsolationLevel, QueryFilter,
    QuerySelect, TransactionTrait,
};

use crate::entity::{audit_event, authority};
use crate::error::StorageError;
use crate::registry::{self, ReplicaRow};
use crate::rows;
use crate::store::{Store, bounded, now_expr};
use crate::{account_read, key_read};

/// How many digests or IDs one statement asks for.
const IDS_PER_STATEMENT: usize = 1_000;

/// A moment of the database.
pub struct ReadTx {
    pub(crate) tx: DatabaseTransaction,
    pub(crate) now: Timestamp,
    pub(crate) revision: Revision,
}

/// A request ID that was used before, with other parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestIdReused;

impl Store {
    /// Begins to read.
    ///
    /// # Errors
    /// When the database did not answer.
    pub async fn begin_reading(&self) -> Result<ReadTx, StorageError> {
        let begun = bounded(async {
            let tx = self.begin_snapshot().await?;
            let (row, now) = authority_now(&tx).await?;
            Ok(ReadTx { tx, now, revision: Revision(row.revision).next() })
        });
        begun.await.map_err(|error| self.explained(error))
    }

    /// A transaction in which every statement sees the same. SQLite's always do.
    pub(crate) async fn begin_snapshot(&self) -> Result<DatabaseTransaction, StorageError> {
        Ok(match self.db.get_database_backend() {
            DbBackend::Sqlite => self.db.begin().await?,
            _ => self.db.begin_with_config(Some(IsolationLevel::RepeatableRead), None).await?,
        })
    }
}

impl ReadTx {
    /// Moves the moment forward to `time`, if that is later: to what the process has already judged by.
    #[must_use]
    pub fn not_before(mut self, time: Timestamp) -> Self {
        self.now = self.now.max(time);
        self
    }

    /// The moment: the database's clock, and never earlier than the newest event of the log, nor than what this process
    /// has judged by before.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The revision that the next change makes.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The event of the same request, if it was made before.
    ///
    /// # Errors
    /// When nobody could look; `Ok(Err(_))` when it was another request of that name.
    pub async fn seen(
        &self,
        actor: &Actor,
        mark: &IdempotencyKey,
    ) -> Result<Result<Option<LoggedEvent>, RequestIdReused>, StorageError> {
        let event = audit_event::Entity::find()
            .filter(audit_event::Column::Actor.eq(actor.as_str()))
            .filter(audit_event::Column::RequestId.eq(mark.id.as_str()));
        let event = bounded(async { event.one(&self.tx).await?.map(rows::event::to_domain).transpose() }).await?;
        let is_same = |logged: &LoggedEvent| logged.event.request.as_ref().is_some_and(|r| r.digest == mark.digest);
        Ok(match event {
            Some(logged) if !is_same(&logged) => Err(RequestIdReused),
            seen => Ok(seen),
        })
    }

    /// The account with this ID.
    ///
    /// # Errors
    /// When the database did not answer.
    pub async fn account(&self, id: &AccountId) -> Result<Option<Account>, StorageError> {
        bounded(account_read::find(&self.tx, id)).await
    }

    /// The key with this ID.
    ///
    /// # Errors
    /// When the database did not answer.
    pub async fn key(&self, id: &KeyId) -> Result<Option<Key>, StorageError> {
        bounded(key_read::find(&self.tx, id)).await
    }

    /// All replicas. One that joins takes the lock as well, so none joins before a change ends.
    ///
    /// # Errors
    /// When the database did not answer.
    pub async fn replicas(&self) -> Result<Vec<ReplicaRow>, StorageError> {
        bounded(registry::replicas_in(&self.tx)).await
    }

    /// The newest key of the account that is active at that moment.
    ///
    /// # Errors
    /// When the database did not answer.
    pub async fn newest_active_key(&self, account: &AccountId) -> Result<Option<Key>, StorageError> {
        bounded(key_read::newest_active(&self.tx, account, self.now)).await
    }

    /// Which of these key IDs were ever used, by a key that exists or by one that was deleted. An ID is used once, so that
    /// nobody takes one key for another. An actor of the log is a key as well, and has an event of its creation.
    ///
    /// # Errors
    /// When the database did not answer.
    pub async fn used_key_ids(&self, ids: &[KeyId]) -> Result<HashSet<KeyId>, StorageError> {
        let mut used = self.existing_key_ids(ids).await?;
        // Only a deletion names a key that does not exist any more. The event of an import names none of its keys.
        let rest: Vec<&KeyId> = ids.iter().filter(|id| !used.contains(*id)).collect();
        for ids in rest.chunks(IDS_PER_STATEMENT) {
            use audit_event::Column;
            let events = audit_event::Entity::find().filter(Column::KeyId.is_in(ids.iter().map(|id| id.as_str())));
            let select = events.select_only().column(Column::KeyId).distinct();
            let found: HashSet<String> =
                bounded(async { Ok(select.into_tuple().all(&self.tx).await?.into_iter().collect()) }).await?;
            used.extend(ids.iter().filter(|id| found.contains(id.as_str())).copied().cloned());
        }
        Ok(used)
    }

    /// Whether this account ID was ever used, by an account that exists or by one that was deleted.
    ///
    /// # Errors
    /// When the database did not answer.
    pub async fn is_account_id_used(&self, id: &AccountId) -> Result<bool, StorageError> {
        if self.account(id).await?.is_some() {
            return Ok(true);
        }
        let events = audit_event::Entity::find().filter(audit_event::Column::Account.eq(id.as_str())).limit(1);
        let revision = events.select_only().column(audit_event::Column::Revision);
        bounded(async { Ok(revision.into_tuple::<i64>().one(&self.tx).await?.is_some()) }).await
    }

    /// How many keys of the account count towards its limit.
    ///
    /// # Errors
    /// When the database did not answer.
    pub async fn count_keys(&self, account: &AccountId, counted: CountedKeys) -> Result<u64, StorageError> {
        let states: &[KeyState] = match counted {
            CountedKeys::All => &[],
            CountedKeys::Active => &[KeyState::Active],
        };
        bounded(key_read::count(&self.tx, account, states, self.now)).await
    }
}

/// The `authority` row, and the time: the database's clock, or the time of the newest event where that is later. So times
/// follow revisions, also when the clock steps back.
pub(crate) async fn authority_now(tx: &DatabaseTransaction) -> Result<(authority::Model, Timestamp), StorageError> {
    let row = authority::Entity::find_by_id(1)
        .expr_as(now_expr(tx.get_database_backend()), "now")
        .expr_as(newest_event_time(), "newest_time")
        .into_model::<WithNow>()
        .one(tx)
        .await?
        .ok_or(StorageError::corrupt("authority", "id", "1"))?;
    let WithNow { id, revision, head_hash, lease_ms, secret_checks, log_format_min, lease_us, now, newest_time } = row;
    let model = authority::Model { id, revision, head_hash, lease_ms, secret_checks, log_format_min, lease_us };
    Ok((model, Timestamp::from_micros(std::cmp::max(Some(now), newest_time).unwrap_or(now))))
}

fn newest_event_time() -> SimpleExpr {
    let newest = Query::select()
        .column((audit_event::Entity, audit_event::Column::EventTime))
        .from(audit_event::Entity)
        .and_where(
            Expr::col((audit_event::Entity, audit_event::Column::Revision))
                .equals((authority::Entity, authority::Column::Revision)),
        )
        .take();
    Expr::expr(newest)
}

#[derive(sea_orm::FromQueryResult)]
struct WithNow {
    id: i32,
    revision: i64,
    head_hash: Vec<u8>,
    lease_ms: i64,
    secret_checks: String,
    log_format_min: i32,
    lease_us: i64,
    now: i64,
    newest_time: Option<i64>,
}
