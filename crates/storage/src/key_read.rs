//! Reads of keys, each with all versions of its secret.

use std::collections::{HashMap, VecDeque};

use key_authority_domain::id::{AccountId, KeyId, Revision};
use key_authority_domain::key::{Key, KeyState};
use key_authority_domain::time::Timestamp;
use sea_orm::sea_query::{Expr, LikeExpr, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, Select,
};

use crate::entity::api_key::{self, Column};
use crate::entity::api_key_secret;
use crate::error::StorageError;
use crate::mapping::key::{KeyRows, to_domain_all};
use crate::page::{AccountScope, Newest, Page};
use crate::row_size;
use crate::store::Store;
use crate::timeout::bounded;

/// The filter of a list of keys.
#[derive(Debug, Clone)]
pub struct KeyQuery {
    /// Keys of these accounts.
    pub accounts: AccountScope,
    /// Keys in these states at `now`. Empty: any.
    pub states: Vec<KeyState>,
    /// Keys that cover this project, including those that cover all projects.
    pub project: Option<String>,
    /// The instant at which states are computed.
    pub now: Timestamp,
}

impl Store {
    /// The key with this ID.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn key(&self, id: &KeyId) -> Result<Option<Key>, StorageError> {
        bounded(find(&self.db, id)).await
    }

    /// A page of keys, newest first. It contains fewer than `size` keys although more follow if their rows are large,
    /// or with a project.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn keys(
        &self,
        query: &KeyQuery,
        size: u32,
        after: Option<&Newest>,
    ) -> Result<Page<Key, Newest>, StorageError> {
        let mut select = api_key::Entity::find()
            .filter(in_states(&query.states, query.now))
            .order_by_desc(Column::CreateRevision)
            .order_by_desc(Column::Id)
            .limit(u64::from(size) + 1);
        if let AccountScope::Only(ids) = &query.accounts {
            select = select.filter(Column::Account.is_in(ids.iter().map(AccountId::as_str)));
        }
        if let Some(project) = &query.project {
            select = select.filter(may_cover(project));
        }
        if let Some(Newest { create_revision: Revision(revision), id }) = after {
            let beyond = Condition::any().add(Column::CreateRevision.lt(*revision)).add(Column::Id.lt(id.as_str()));
            // The first condition is the start of the index range.
            select = select.filter(Column::CreateRevision.lte(*revision)).filter(beyond);
        }
        let mut listed = bounded(list(&self.db, select)).await?;
        let count = row_size::fitting(listed.iter().map(|row| row.bytes)).min(size as usize);
        let has_more = listed.len() > count;
        listed.truncate(count);
        let next = listed
            .last()
            .filter(|_| has_more)
            .map(|row| Newest { create_revision: Revision(row.create_revision), id: row.id.clone() });
        if listed.is_empty() {
            return Ok(Page { items: Vec::new(), next });
        }
        let ids = listed.iter().map(|row| row.id.as_str());
        let select = api_key::Entity::find().filter(Column::Id.is_in(ids)).filter(in_states(&query.states, query.now));
        let keys = bounded(with_secrets(&self.db, select)).await?;
        let mut keys: HashMap<_, _> = keys.into_iter().map(|key| (key.id.as_str().to_owned(), key)).collect();
        // A key that is deleted, or whose state changes, after it was listed is left out.
        let mut items: Vec<Key> = listed.iter().filter_map(|row| keys.remove(&row.id)).collect();
        // The database matched text, which may include false positives.
        items.retain(|key| query.project.as_deref().is_none_or(|project| key.access.projects.covers(Some(project))));
        Ok(Page { items, next })
    }
}

/// A key in a list: its place and the size of its row.
#[derive(FromQueryResult)]
struct ListedKey {
    id: String,
    create_revision: i64,
    bytes: i64,
}

async fn list(db: &impl ConnectionTrait, select: Select<api_key::Entity>) -> Result<Vec<ListedKey>, StorageError> {
    let bytes = row_size::of_key(db.get_database_backend());
    let select = select.select_only().columns([Column::Id, Column::CreateRevision]).column_as(bytes, "bytes");
    Ok(select.into_model::<ListedKey>().all(db).await?)
}

/// The states as a condition. The precedence of states is the same as in [`Key::state`].
fn in_states(states: &[KeyState], now: Timestamp) -> Condition {
    if states.is_empty() {
        return Condition::all();
    }
    let unrevoked = || Condition::all().add(Column::RevokeTime.is_null());
    let expired = || Column::ExpireTime.lte(now.micros());
    states.iter().fold(Condition::any(), |any, state| {
        any.add(match state {
            KeyState::Revoked => Condition::all().add(Column::RevokeTime.is_not_null()),
            KeyState::Disabled => unrevoked().add(Column::Disabled.eq(true)),
            KeyState::Expired => unrevoked().add(Column::Disabled.eq(false)).add(expired()),
            KeyState::Active => unrevoked()
                .add(Column::Disabled.eq(false))
                .add(Condition::any().add(Column::ExpireTime.is_null()).add(Column::ExpireTime.gt(now.micros()))),
        })
    })
}

/// Whether the JSON list of projects contains `project` as text: no false negatives, but false positives.
fn may_cover(project: &str) -> Condition {
    let quoted = serde_json::Value::from(project).to_string();
    let mut pattern = String::from("%");
    for c in quoted.chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    Condition::any().add(Column::AllProjects.eq(true)).add(Column::Projects.like(LikeExpr::new(pattern).escape('!')))
}

pub(crate) async fn find(db: &impl ConnectionTrait, id: &KeyId) -> Result<Option<Key>, StorageError> {
    Ok(with_secrets(db, api_key::Entity::find_by_id(id.as_str())).await?.pop())
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
    with_secrets(db, api_key::Entity::find().filter(Column::Id.is_in(ids.iter().map(KeyId::as_str)))).await
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
    let secrets = api_key_secret::Entity::find().filter(api_key_secret::Column::KeyId.is_in(ids)).all(db).await?;
    let owners: std::collections::HashSet<&str> = secrets.iter().map(|secret| secret.key_id.as_str()).collect();
    let without_secrets: Vec<String> =
        keys.iter().filter(|key| !owners.contains(key.id.as_str())).map(|key| key.id.clone()).collect();
    if !without_secrets.is_empty() {
        let existing = api_key::Entity::find().filter(Column::Id.is_in(without_secrets.clone())).one(db).await?;
        if let Some(key) = existing {
            return Err(StorageError::corrupt("api_key_secret", "key_id", key.id));
        }
        keys.retain(|key| !without_secrets.contains(&key.id));
    }
    to_domain_all(keys, secrets)
}
