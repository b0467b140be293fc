//! Consistent reads at one instant.
//!
//! A read transaction neither waits for changes nor blocks them. A [`WriteTx`](crate::write_tx::WriteTx) offers the
//! same reads under the lock, so the data cannot change before its commit.

use std::collections::HashSet;

use key_authority_domain::account::{Account, CountedKeys};
use key_authority_domain::audit::{IdempotencyKey, LoggedEvent};
use key_authority_domain::id::{AccountId, Actor, KeyId, Revision};
use key_authority_domain::key::Key;
use key_authority_domain::time::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait, Query, SimpleExpr};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, IsolationLevel, QueryFilter,
    QuerySelect, TransactionTrait,
};

use crate::entity::{audit_event, authority};
use crate::error::StorageError;
use crate::mapping::{self, AUTHORITY};
use crate::one_of::is_one_of;
use crate::page::AccountScope;
use crate::registry::{self, ReplicaRow};
use crate::store::{Store, now_expr};
use crate::timeout::bounded;
use crate::{account_read, key_read};

/// Maximum number of digests or IDs in one statement.
pub(crate) const IDS_PER_STATEMENT: usize = 1_000;

/// A read transaction: a consistent view of the database.
pub struct ReadTx {
    pub(crate) tx: DatabaseTransaction,
    pub(crate) now: Timestamp,
    pub(crate) revision: Revision,
}

/// The request ID was used before with other parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestIdReused;

impl Store {
    /// Begins a read transaction.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn begin_reading(&self) -> Result<ReadTx, StorageError> {
        let begun = bounded(async {
            let tx = self.begin_snapshot().await?;
            let (row, now) = authority_now(&tx).await?;
            Ok(ReadTx { tx, now, revision: Revision(row.revision).next() })
        });
        begun.await.map_err(|error| self.explained(error))
    }

    /// Begins a transaction with snapshot isolation. On SQLite, every transaction has it.
    pub(crate) async fn begin_snapshot(&self) -> Result<DatabaseTransaction, StorageError> {
        Ok(match self.db.get_database_backend() {
            DbBackend::Sqlite => self.db.begin().await?,
            _ => self.db.begin_with_config(Some(IsolationLevel::RepeatableRead), None).await?,
        })
    }
}

impl ReadTx {
    /// Advances the time of the transaction to `time` if that is later: to a time that the process has already used for
    /// decisions.
    #[must_use]
    pub fn not_before(mut self, time: Timestamp) -> Self {
        self.now = self.now.max(time);
        self
    }

    /// The time of the transaction: the database's clock, but never earlier than the newest event of the log or than
    /// the time that was passed to [`not_before`](Self::not_before).
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The revision that the next change makes.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The event of an earlier request with the same idempotency key, if there is one.
    ///
    /// # Errors
    /// If the database did not answer. `Ok(Err(_))` if the request ID was used with other parameters.
    pub async fn find_replayed(
        &self,
        actor: &Actor,
        key: &IdempotencyKey,
    ) -> Result<Result<Option<LoggedEvent>, RequestIdReused>, StorageError> {
        let event = audit_event::Entity::find()
            .filter(audit_event::Column::Actor.eq(actor.as_str()))
            .filter(audit_event::Column::RequestId.eq(key.id.as_str()));
        let event = bounded(async { event.one(&self.tx).await?.map(mapping::event::to_domain).transpose() }).await?;
        let is_same = |logged: &LoggedEvent| logged.event.request.as_ref().is_some_and(|r| r.digest == key.digest);
        Ok(match event {
            Some(logged) if !is_same(&logged) => Err(RequestIdReused),
            seen => Ok(seen),
        })
    }

    /// The account with this ID.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn account(&self, id: &AccountId) -> Result<Option<Account>, StorageError> {
        bounded(account_read::find(&self.tx, id)).await
    }

    /// The key with this ID.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn key(&self, id: &KeyId) -> Result<Option<Key>, StorageError> {
        bounded(key_read::find(&self.tx, id)).await
    }

    /// The key with this ID, if it belongs to one of the accounts.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn key_of(&self, id: &KeyId, accounts: &AccountScope) -> Result<Option<Key>, StorageError> {
        bounded(key_read::find_of(&self.tx, id, accounts)).await
    }

    /// All replicas. A joining replica takes the same lock as a change, so none joins before a change ends.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn replicas(&self) -> Result<Vec<ReplicaRow>, StorageError> {
        bounded(registry::replicas_in(&self.tx)).await
    }

    /// The newest key of the account that is active at the time of the transaction.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn newest_active_key(&self, account: &AccountId) -> Result<Option<Key>, StorageError> {
        bounded(key_read::newest_active(&self.tx, account, self.now)).await
    }

    /// The key IDs that were ever used, by an existing or a deleted key. An ID is never reused, so that two keys cannot
    /// be confused. An actor in the log is also a key and has an event of its creation.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn used_key_ids(&self, ids: &[KeyId]) -> Result<HashSet<KeyId>, StorageError> {
        let mut used = self.existing_key_ids(ids).await?;
        // A deleted key is named by the event of its deletion. The event of an import names none of its keys.
        let rest: Vec<&KeyId> = ids.iter().filter(|id| !used.contains(*id)).collect();
        for ids in rest.chunks(IDS_PER_STATEMENT) {
            use audit_event::Column;
            let these = is_one_of(self.tx.get_database_backend(), Column::KeyId, ids.iter().map(|id| id.as_str()));
            let events = audit_event::Entity::find().filter(these);
            let select = events.select_only().column(Column::KeyId).distinct();
            let found: HashSet<String> =
                bounded(async { Ok(select.into_tuple().all(&self.tx).await?.into_iter().collect()) }).await?;
            used.extend(ids.iter().filter(|id| found.contains(id.as_str())).copied().cloned());
        }
        Ok(used)
    }

    /// Whether this account ID was ever used, by an existing or a deleted account.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn is_account_id_used(&self, id: &AccountId) -> Result<bool, StorageError> {
        if self.account(id).await?.is_some() {
            return Ok(true);
        }
        let events = audit_event::Entity::find().filter(audit_event::Column::Account.eq(id.as_str())).limit(1);
        let revision = events.select_only().column(audit_event::Column::Revision);
        bounded(async { Ok(revision.into_tuple::<i64>().one(&self.tx).await?.is_some()) }).await
    }

    /// Number of keys of the account that count towards its limit, but at most `max`, which is the limit: a change must
    /// not read more keys than that while it blocks all other changes.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn count_towards_limit(
        &self,
        account: &AccountId,
        counted: CountedKeys,
        max: u32,
    ) -> Result<u64, StorageError> {
        bounded(async {
            match counted {
                CountedKeys::All => key_read::count_all(&self.tx, account, max.into()).await,
                CountedKeys::Active => key_read::count_active(&self.tx, account, self.now, max.into()).await,
            }
        })
        .await
    }
}

/// The `authority` row, and the time: the later of the database's clock and the time of the newest event. So event
/// times are in revision order even if the clock steps back.
pub(crate) async fn authority_now(tx: &DatabaseTransaction) -> Result<(authority::Model, Timestamp), StorageError> {
    let row = authority::Entity::find_by_id(1)
        .expr_as(now_expr(tx.get_database_backend()), "now")
        .expr_as(newest_event_time(), "newest_time")
        .into_model::<WithNow>()
        .one(tx)
        .await?
        .ok_or_else(|| AUTHORITY.corrupt("id"))?;
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
