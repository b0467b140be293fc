//! How many keys a page of a list looks at.
//!
//! A filter that no index serves, such as a text, can match nothing for a long time. A page therefore ends after
//! [`KeyQuery::scanned_max`] keys, also if it has found none, and the next page goes on there. Other orders than that
//! of creation have no index: to sort them, the database reads all keys anyway.

use key_authority_domain::id::AccountId;
use key_authority_domain::key::KeyState;
use sea_orm::sea_query::Order;
use sea_orm::sea_query::extension::mysql::{IndexHintScope, MySqlSelectStatementExt as _};
use sea_orm::{
    ColumnTrait, Condition, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select,
};

use crate::entity::api_key::{self, Column};
use crate::error::StorageError;
use crate::key_order::{KeyCursor, KeyOrder, KeyRank, RankValue};
use crate::key_query::{KeyQuery, in_states};
use crate::one_of::is_one_of;
use crate::page::AccountScope;
use crate::store::Store;
use crate::timeout::bounded;

/// Maximum number of keys in some states that are found by the index of the states, and sorted afterwards.
const SORTED_MAX: u64 = 1_000;

/// Which keys a page looks at.
pub(crate) enum Reach {
    /// All that match.
    All,
    /// Those with these IDs: no other key of the account is in the states of the query.
    Only(Vec<String>),
    /// Those up to this one, in the order of the list.
    UpTo(KeyCursor),
}

impl Store {
    /// Decides which keys the page after a cursor looks at.
    pub(crate) async fn reach(
        &self,
        query: &KeyQuery,
        order: KeyOrder,
        after: Option<&KeyCursor>,
    ) -> Result<Reach, StorageError> {
        if !query.is_selective() {
            return Ok(Reach::All);
        }
        let is_by_creation = order.rank == KeyRank::Created;
        let (order, after) = if is_by_creation { (order, after) } else { (KeyOrder::NEWEST, None) };
        let Some(last) = self.last_scanned(query, order, after).await? else { return Ok(Reach::All) };
        // Few keys of the account are in these states, if the states are those of ended keys, for example.
        if let Some(ids) = self.few_in_states(query).await? {
            return Ok(Reach::Only(ids));
        }
        Ok(if is_by_creation { Reach::UpTo(last) } else { Reach::All })
    }

    /// The last key that a page may look at; `None` if it may look at all. The index alone answers this.
    async fn last_scanned(
        &self,
        query: &KeyQuery,
        order: KeyOrder,
        after: Option<&KeyCursor>,
    ) -> Result<Option<KeyCursor>, StorageError> {
        let direction = if order.is_descending { Order::Desc } else { Order::Asc };
        let mut select = api_key::Entity::find()
            .select_only()
            .columns([Column::CreateRevision, Column::Id])
            .filter(after.map_or_else(Condition::all, |cursor| order.beyond(self.db.get_database_backend(), cursor)))
            .order_by(Column::CreateRevision, direction.clone())
            .order_by(Column::Id, direction);
        if let Some(account) = query.one_account() {
            select = select.filter(Column::Account.eq(account.as_str()));
        } else if let AccountScope::Only(accounts) = &query.accounts {
            select = select.filter(Column::Account.is_in(accounts.iter().map(AccountId::as_str)));
        }
        // The key after it shows whether there are more.
        let select = query.by_creation(select).offset(query.scanned_max.saturating_sub(1)).limit(2).into_tuple();
        let last: Vec<(i64, String)> = bounded(async { Ok(select.all(&self.db).await?) }).await?;
        let [(revision, id), _] = last.as_slice() else { return Ok(None) };
        Ok(Some(KeyCursor { value: RankValue::Number(*revision), id: id.clone() }))
    }

    /// The IDs of the keys of one account in the states of the query, if they are few.
    async fn few_in_states(&self, query: &KeyQuery) -> Result<Option<Vec<String>>, StorageError> {
        let Some(account) = query.one_account().filter(|_| !query.states.is_empty()) else { return Ok(None) };
        let mut few = Vec::new();
        for state in &query.states {
            // SQLite uses an index for a range, and not for IS NOT NULL.
            let is_revoked = (*state == KeyState::Revoked).then(|| Column::RevokeTime.gte(i64::MIN));
            let select = api_key::Entity::find()
                .select_only()
                .column(Column::Id)
                .filter(Column::Account.eq(account.as_str()))
                .filter(Condition::all().add(in_states(&[*state], query.now)).add_option(is_revoked))
                .limit(SORTED_MAX + 1)
                .into_tuple::<String>();
            few.extend(bounded(async { Ok(select.all(&self.db).await?) }).await?);
            if few.len() as u64 > SORTED_MAX {
                return Ok(None);
            }
        }
        Ok(Some(few))
    }
}

impl Reach {
    /// The condition on the keys.
    pub(crate) fn condition(&self, backend: DbBackend, order: KeyOrder) -> Condition {
        match self {
            Self::All => Condition::all(),
            Self::Only(ids) => Condition::all().add(is_one_of(backend, Column::Id, ids.iter().map(String::as_str))),
            Self::UpTo(last) => order.up_to(backend, last),
        }
    }

    /// Makes a statement of the list read only the range of its page, where an index has the order of the list.
    pub(crate) fn walk(
        &self,
        query: &KeyQuery,
        order: KeyOrder,
        select: Select<api_key::Entity>,
    ) -> Select<api_key::Entity> {
        match self {
            Self::All | Self::UpTo(_) if order.rank == KeyRank::Created => query.by_creation(select),
            _ => select,
        }
    }

    /// Whether no key can match.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Only(ids) if ids.is_empty())
    }
}

impl KeyQuery {
    /// Makes a statement in the order of creation read only the range of its page. For one account, MariaDB prefers to
    /// read all keys of the account (`ref`), also those of the pages before, unless this index is the only one. The
    /// other databases ignore the hint.
    pub(crate) fn by_creation(&self, mut select: Select<api_key::Entity>) -> Select<api_key::Entity> {
        if self.one_account().is_some() && self.ids.is_empty() {
            QueryTrait::query(&mut select).force_index("api_key_account_newest", IndexHintScope::All);
        }
        select
    }

    /// The account, if the query is about one.
    fn one_account(&self) -> Option<&AccountId> {
        match &self.accounts {
            AccountScope::Only(accounts) => match accounts.as_slice() {
                [account] => Some(account),
                _ => None,
            },
            AccountScope::All => None,
        }
    }

    /// Whether keys may have to be skipped which the index of the order contains.
    fn is_selective(&self) -> bool {
        let is_of_some_accounts = matches!(&self.accounts, AccountScope::Only(accounts) if accounts.len() > 1);
        let has_times = self.created_before.is_some() || self.expires_before.is_some() || self.unused_since.is_some();
        is_of_some_accounts
            || has_times
            || !self.states.is_empty()
            || self.project.is_some()
            || self.text.is_some()
            || !self.labels.is_empty()
            || self.created_by.is_some()
    }
}
