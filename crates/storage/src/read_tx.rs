//! Reading many things as they were at one moment.
//!
//! It waits for no change and holds none up. A [`WriteTx`](crate::write_tx::WriteTx) reads in the same way, but holds the
//! lock, so that what it reads is what it will change.

mod holders;

pub use holders::Holder;

use key_authority_domain::account::{Account, CountedKeys};
use key_authority_domain::audit::{LoggedEvent, RequestMark};
use key_authority_domain::id::{AccountId, Actor, KeyId, Revision};
use key_authority_domain::key::{Key, KeyState};
use key_authority_domain::time::Timestamp;
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
    /// When nobody could look.
    pub async fn begin_reading(&self) -> Result<ReadTx, StorageError> {
        bounded(async {
            let tx = self.begin_snapshot().await?;
            let (row, now) = authority_now(&tx).await?;
            Ok(ReadTx { tx, now, revision: Revision(row.revision).next() })
        })
        .await
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
    /// The moment, by the database's clock.
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
        mark: &RequestMark,
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
    /// When nobody could look.
    pub async fn account(&self, id: &AccountId) -> Result<Option<Account>, StorageError> {
        bounded(account_read::find(&self.tx, id)).await
    }

    /// The key with this ID.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn key(&self, id: &KeyId) -> Result<Option<Key>, StorageError> {
        bounded(key_read::find(&self.tx, id)).await
    }

    /// All replicas. One that joins takes the lock as well, so none joins before a change ends.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn replicas(&self) -> Result<Vec<ReplicaRow>, StorageError> {
        bounded(registry::replicas_in(&self.tx)).await
    }

    /// The newest key of the account that is active at that moment.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn newest_active_key(&self, account: &AccountId) -> Result<Option<Key>, StorageError> {
        bounded(key_read::newest_active(&self.tx, account, self.now)).await
    }

    /// Whether the log has a change by, or of, a key of this ID.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn has_acted(&self, id: &KeyId) -> Result<bool, StorageError> {
        let by = audit_event::Entity::find().filter(audit_event::Column::Actor.eq(id.as_str())).limit(1);
        let of = audit_event::Entity::find().filter(audit_event::Column::KeyId.eq(id.as_str())).limit(1);
        bounded(async { Ok(by.one(&self.tx).await?.is_some() || of.one(&self.tx).await?.is_some()) }).await
    }

    /// How many keys of the account count towards its limit.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn count_keys(&self, account: &AccountId, counted: CountedKeys) -> Result<u64, StorageError> {
        let states: &[KeyState] = match counted {
            CountedKeys::All => &[],
            CountedKeys::Active => &[KeyState::Active],
        };
        bounded(key_read::count(&self.tx, account, states, self.now)).await
    }
}

/// The `authority` row, and the database's time.
pub(crate) async fn authority_now(tx: &DatabaseTransaction) -> Result<(authority::Model, Timestamp), StorageError> {
    let row = authority::Entity::find_by_id(1)
        .expr_as(now_expr(tx.get_database_backend()), "now")
        .into_model::<WithNow>()
        .one(tx)
        .await?
        .ok_or(StorageError::corrupt("authority", "id", "1"))?;
    let WithNow { id, revision, head_hash, lease_ms, secret_checks, now } = row;
    Ok((authority::Model { id, revision, head_hash, lease_ms, secret_checks }, Timestamp::from_micros(now)))
}

#[derive(sea_orm::FromQueryResult)]
struct WithNow {
    id: i32,
    revision: i64,
    head_hash: Vec<u8>,
    lease_ms: i64,
    secret_checks: String,
    now: i64,
}
