//! Pages of keys, in an order.

use std::collections::HashMap;

use key_authority_domain::key::Key;
use sea_orm::sea_query::Order;
use sea_orm::{Condition, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, Select};

use crate::entity::api_key::{self, Column};
use crate::error::StorageError;
use crate::key_order::{KeyCursor, KeyOrder, KeyRank, NEVER_EXPIRES, NEVER_USED, RankValue};
use crate::key_query::{KeyQuery, in_states};
use crate::key_reach::Reach;
use crate::key_read::with_secrets;
use crate::one_of::is_one_of;
use crate::page::Page;
use crate::row_size;
use crate::store::Store;
use crate::timeout::bounded;

impl Store {
    /// A page of keys, each with the cursor of the page after it. It contains fewer than `size` keys, or none, although
    /// more follow, if their rows are large, with a project or labels, or if it looked at
    /// [`KeyQuery::scanned_max`] keys. A key whose rank changes between two pages may be listed twice, or not at all.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn keys(
        &self,
        query: &KeyQuery,
        order: KeyOrder,
        size: u32,
        after: Option<&KeyCursor>,
    ) -> Result<Page<(Key, KeyCursor), KeyCursor>, StorageError> {
        let reach = self.reach(query, order, after).await?;
        if reach.is_empty() {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let direction = if order.is_descending { Order::Desc } else { Order::Asc };
        let backend = self.db.get_database_backend();
        let select = api_key::Entity::find()
            .filter(query.condition(backend))
            .filter(after.map_or_else(Condition::all, |cursor| order.beyond(backend, cursor)))
            .filter(reach.condition(backend, order))
            .order_by(order.rank.expression(), direction.clone())
            .order_by(Column::Id, direction)
            .limit(u64::from(size) + 1);
        let mut listed = bounded(list(&self.db, reach.walk(query, order, select))).await?;
        let count = row_size::fitting(listed.iter().map(|row| row.bytes)).min(size as usize);
        let has_more = listed.len() > count;
        listed.truncate(count);
        let next = match reach {
            Reach::UpTo(last) if !has_more => Some(last),
            _ => listed.last().filter(|_| has_more).map(|row| row.cursor(order.rank)),
        };
        if listed.is_empty() {
            return Ok(Page { items: Vec::new(), next });
        }
        let ids = listed.iter().map(|row| row.id.as_str());
        let these = is_one_of(self.db.get_database_backend(), Column::Id, ids);
        let select = api_key::Entity::find().filter(these).filter(in_states(&query.states, query.now));
        let keys = bounded(with_secrets(&self.db, select)).await?;
        let mut keys: HashMap<_, _> = keys.into_iter().map(|key| (key.id.as_str().to_owned(), key)).collect();
        // A key that is deleted, or whose state changes, after it was listed is left out.
        let with_cursor = |row: &ListedKey| Some((keys.remove(&row.id)?, row.cursor(order.rank)));
        let mut items: Vec<(Key, KeyCursor)> = listed.iter().filter_map(with_cursor).collect();
        items.retain(|(key, _)| query.covers(key));
        Ok(Page { items, next })
    }
}

/// A key in a list: the values that it may be ordered by, and the size of its row.
#[derive(FromQueryResult)]
struct ListedKey {
    id: String,
    display_name: String,
    create_revision: i64,
    last_used_time: Option<i64>,
    expire_time: Option<i64>,
    bytes: i64,
}

impl ListedKey {
    fn cursor(&self, rank: KeyRank) -> KeyCursor {
        let value = match rank {
            KeyRank::Created => RankValue::Number(self.create_revision),
            KeyRank::LastUsed => RankValue::Number(self.last_used_time.unwrap_or(NEVER_USED)),
            KeyRank::Expires => RankValue::Number(self.expire_time.unwrap_or(NEVER_EXPIRES)),
            KeyRank::DisplayName => RankValue::Text(self.display_name.clone()),
        };
        KeyCursor { value, id: self.id.clone() }
    }
}

async fn list(db: &impl ConnectionTrait, select: Select<api_key::Entity>) -> Result<Vec<ListedKey>, StorageError> {
    let bytes = row_size::of_key(db.get_database_backend());
    let select = select
        .select_only()
        .columns([Column::Id, Column::DisplayName, Column::CreateRevision, Column::LastUsedTime, Column::ExpireTime])
        .column_as(bytes, "bytes");
    Ok(select.into_model::<ListedKey>().all(db).await?)
}
