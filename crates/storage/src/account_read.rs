//! Reads of accounts.

use key_authority_domain::account::Account;
use key_authority_domain::id::{AccountId, Revision};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::entity::account::{Column, Entity};
use crate::error::StorageError;
use crate::mapping::account::to_domain;
use crate::one_of::is_one_of;
use crate::page::{AccountScope, Newest, Page, cut};
use crate::store::Store;
use crate::timeout::bounded;

impl Store {
    /// The account with this ID.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn account(&self, id: &AccountId) -> Result<Option<Account>, StorageError> {
        bounded(find(&self.db, id)).await
    }

    /// A page of accounts, newest first.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn accounts(
        &self,
        scope: &AccountScope,
        size: u32,
        after: Option<&Newest>,
    ) -> Result<Page<Account, Newest>, StorageError> {
        let mut query =
            Entity::find().order_by_desc(Column::CreateRevision).order_by_desc(Column::Id).limit(u64::from(size) + 1);
        if let AccountScope::Only(ids) = scope {
            query = query.filter(Column::Id.is_in(ids.iter().map(AccountId::as_str)));
        }
        if let Some(Newest { create_revision: Revision(revision), id }) = after {
            let beyond = Condition::any().add(Column::CreateRevision.lt(*revision)).add(Column::Id.lt(id.as_str()));
            // The first condition is the start of the index range.
            query = query.filter(Column::CreateRevision.lte(*revision)).filter(beyond);
        }
        // The policy and the name have small limits, so a thousand rows are a few megabytes.
        bounded(async {
            let rows = query.all(&self.db).await?;
            let accounts = rows.into_iter().map(to_domain).collect::<Result<Vec<_>, _>>()?;
            Ok(cut(accounts, size, Newest::after_account))
        })
        .await
    }
}

pub(crate) async fn find(db: &impl ConnectionTrait, id: &AccountId) -> Result<Option<Account>, StorageError> {
    Entity::find_by_id(id.as_str()).one(db).await?.map(to_domain).transpose()
}

pub(crate) async fn find_all(db: &impl ConnectionTrait, ids: &[AccountId]) -> Result<Vec<Account>, StorageError> {
    let these = is_one_of(db.get_database_backend(), Column::Id, ids.iter().map(AccountId::as_str));
    let rows = Entity::find().filter(these).all(db).await?;
    rows.into_iter().map(to_domain).collect()
}
