//! Reads of keys, each with all versions of its secret.

use std::collections::VecDeque;

use key_authority_domain::id::{AccountId, KeyId};
use key_authority_domain::key::{Key, KeyState};
use key_authority_domain::time::Timestamp;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select};

use crate::entity::api_key::{self, Column};
use crate::entity::api_key_secret;
use crate::error::StorageError;
use crate::key_query::in_states;
use crate::mapping::key::{KeyRows, to_domain_all};
use crate::one_of::is_one_of;
use crate::page::AccountScope;
use crate::row_size;
use crate::store::Store;
use crate::timeout::bounded;

impl Store {
    /// The key with this ID.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn key(&self, id: &KeyId) -> Result<Option<Key>, StorageError> {
        bounded(find(&self.db, id)).await
    }

    /// The key with this ID, if it belongs to one of the accounts.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn key_of(&self, id: &KeyId, accounts: &AccountScope) -> Result<Option<Key>, StorageError> {
        bounded(find_of(&self.db, id, accounts)).await
    }
}

pub(crate) async fn find(db: &impl ConnectionTrait, id: &KeyId) -> Result<Option<Key>, StorageError> {
    Ok(with_secrets(db, api_key::Entity::find_by_id(id.as_str())).await?.pop())
}

/// The key, if it belongs to one of the accounts. The secrets of another key are not read: the time of the answer would
/// show that the key exists.
pub(crate) async fn find_of(
    db: &impl ConnectionTrait,
    id: &KeyId,
    accounts: &AccountScope,
) -> Result<Option<Key>, StorageError> {
    let mut select = api_key::Entity::find_by_id(id.as_str());
    if let AccountScope::Only(ids) = accounts {
        select = select.filter(Column::Account.is_in(ids.iter().map(AccountId::as_str)));
    }
    Ok(with_secrets(db, select).await?.pop())
}

/// The newest key of the account that is active at `now`.
pub(crate) async fn newest_active(
    db: &impl ConnectionTrait,
    account: &AccountId,
    now: Timestamp,
) -> Result<Option<Key>, StorageError> {
    let newest = of_account(account)
        .filter(in_states(&[KeyState::Active], now))
        .order_by_desc(Column::CreateRevision)
        .order_by_desc(Column::Id)
        .limit(1);
    Ok(with_secrets(db, newest).await?.pop())
}

pub(crate) async fn find_all(db: &impl ConnectionTrait, ids: &[KeyId]) -> Result<Vec<Key>, StorageError> {
    let these = is_one_of(db.get_database_backend(), Column::Id, ids.iter().map(KeyId::as_str));
    with_secrets(db, api_key::Entity::find().filter(these)).await
}

/// Number of keys of the account, but at most `max`: keys beyond it are not read.
pub(crate) async fn count_all(db: &impl ConnectionTrait, account: &AccountId, max: u64) -> Result<u64, StorageError> {
    count(db, of_account(account), max).await
}

/// Number of keys of the account that are active at `now`, but at most `max`: keys beyond it are not read. Two
/// statements, each of which reads one range of an index: keys that never expire, and keys that expire later. So the
/// cost does not depend on the keys that have ended.
pub(crate) async fn count_active(
    db: &impl ConnectionTrait,
    account: &AccountId,
    now: Timestamp,
    max: u64,
) -> Result<u64, StorageError> {
    let unended = || of_account(account).filter(Column::RevokeTime.is_null()).filter(Column::Disabled.eq(false));
    let lasting = count(db, unended().filter(Column::ExpireTime.is_null()), max).await?;
    if lasting >= max {
        return Ok(lasting);
    }
    let expiring = count(db, unended().filter(Column::ExpireTime.gt(now.micros())), max - lasting).await?;
    Ok(lasting + expiring)
}

fn of_account(account: &AccountId) -> Select<api_key::Entity> {
    api_key::Entity::find().filter(Column::Account.eq(account.as_str()))
}

async fn count(db: &impl ConnectionTrait, keys: Select<api_key::Entity>, max: u64) -> Result<u64, StorageError> {
    let keys = keys.select_only().column(Column::Account).limit(max).into_query();
    let count = Query::select().expr_as(Expr::cust("COUNT(*)"), "count").from_subquery(keys, "counted").take();
    let row = db.query_one(&count).await?.ok_or(StorageError::corrupt("api_key", "account", ""))?;
    let count: i64 = row.try_get("", "count")?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The batches of a snapshot, in the order of the IDs.
pub(crate) struct Batches {
    /// The last IDs of the next batches.
    ends: VecDeque<String>,
    /// Number of keys whose sizes the next statement lists. MariaDB and MySQL read whole texts for their sizes, so it
    /// is small while keys are large.
    listed: u64,
}

impl Batches {
    const LISTED_MIN: u64 = 100;
    const LISTED_MAX: u64 = 5_000;

    pub(crate) fn new() -> Self {
        Self { ends: VecDeque::new(), listed: 250 }
    }

    /// The last ID of the batch after `after`; None after the last key. A batch has at most `rows` keys and
    /// [`row_size::READ_BYTES_MAX`] bytes, or one key.
    pub(crate) async fn end_after(
        &mut self,
        db: &impl ConnectionTrait,
        after: &str,
        rows: usize,
    ) -> Result<Option<String>, StorageError> {
        if self.ends.is_empty() {
            self.list(db, after, rows).await?;
        }
        Ok(self.ends.pop_front())
    }

    async fn list(&mut self, db: &impl ConnectionTrait, after: &str, rows: usize) -> Result<(), StorageError> {
        let select = api_key::Entity::find().filter(Column::Id.gt(after)).order_by_asc(Column::Id).limit(self.listed);
        let bytes = row_size::of_key(db.get_database_backend());
        let select = select.select_only().column(Column::Id).column_as(bytes, "bytes");
        let listed: Vec<(String, i64)> = select.into_tuple().all(db).await?;
        let mut rest = listed.as_slice();
        while !rest.is_empty() {
            let count = row_size::fitting(rest.iter().map(|(_, bytes)| *bytes)).min(rows);
            let (batch, others) = rest.split_at(count);
            self.ends.extend(batch.last().map(|(id, _)| id.clone()));
            rest = others;
        }
        let are_large = row_size::fitting(listed.iter().map(|(_, bytes)| *bytes)) < listed.len();
        self.listed = if are_large { self.listed / 2 } else { self.listed * 2 };
        self.listed = self.listed.clamp(Self::LISTED_MIN, Self::LISTED_MAX);
        Ok(())
    }
}

/// Reads the keys after `after` up to `to`, in the order of their IDs. The transaction must have snapshot isolation.
pub(crate) async fn batch(db: &impl ConnectionTrait, after: &str, to: &str) -> Result<KeyRows, StorageError> {
    use api_key_secret::{Column as Secret, Entity as Secrets};
    // By range: a list of thousands of IDs is slower.
    let keys = api_key::Entity::find().filter(Column::Id.gt(after)).filter(Column::Id.lte(to));
    let keys = db.query_all(keys.order_by_asc(Column::Id).as_query()).await?;
    let secrets = Secrets::find().filter(Secret::KeyId.gt(after)).filter(Secret::KeyId.lte(to));
    let secrets = secrets.order_by_asc(Secret::KeyId).order_by_asc(Secret::Version);
    let secrets = db.query_all(secrets.as_query()).await?;
    Ok(KeyRows { keys, secrets })
}

/// Reads keys and then their secrets. A key may change between the two statements, so its secrets may be newer. A key
/// that was deleted in between has no secrets and is left out.
pub(crate) async fn with_secrets(
    db: &impl ConnectionTrait,
    select: Select<api_key::Entity>,
) -> Result<Vec<Key>, StorageError> {
    let mut keys = select.all(db).await?;
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    let of_these = is_one_of(db.get_database_backend(), api_key_secret::Column::KeyId, ids);
    let secrets = api_key_secret::Entity::find().filter(of_these).all(db).await?;
    let owners: std::collections::HashSet<&str> = secrets.iter().map(|secret| secret.key_id.as_str()).collect();
    let without_secrets: Vec<String> =
        keys.iter().filter(|key| !owners.contains(key.id.as_str())).map(|key| key.id.clone()).collect();
    if !without_secrets.is_empty() {
        let these = is_one_of(db.get_database_backend(), Column::Id, without_secrets.iter().map(String::as_str));
        let existing = api_key::Entity::find().filter(these).one(db).await?;
        if let Some(key) = existing {
            return Err(StorageError::corrupt("api_key_secret", "key_id", key.id));
        }
        keys.retain(|key| !without_secrets.contains(&key.id));
    }
    to_domain_all(keys, secrets)
}
