//! Revocation of many keys in one change.

use key_authority_domain::access::ProjectAccess;
use key_authority_domain::id::{AccountId, KeyId};
use key_authority_domain::key::Labels;
use key_authority_domain::time::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait as _, Func};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect, Select,
};

use super::WriteTx;
use crate::entity::api_key::{self, Column};
use crate::error::StorageError;
use crate::key_query::KeyQuery;
use crate::mapping::RowContext;
use crate::mapping::key::AccessColumns;
use crate::one_of::is_one_of;
use crate::read_tx::ReadTx;
use crate::row_size;
use crate::timeout::bounded;

/// Number of rows in one statement.
const ROWS: usize = 500;
/// Number of rows in one statement that reads texts of up to 40 KiB.
const ROWS_WITH_TEXTS: usize = 100;

/// A key that matches a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchingKey {
    /// The ID of the key.
    pub id: KeyId,
    /// The size of its row, in bytes.
    pub bytes: u64,
}

#[derive(FromQueryResult)]
struct MatchingRow {
    id: String,
    create_revision: i64,
    bytes: i64,
    all_projects: bool,
    projects: String,
    labels: String,
}

impl MatchingRow {
    /// Returns the key if it matches the query also where the database compared text.
    fn matching(self, query: &KeyQuery) -> Result<Option<MatchingKey>, StorageError> {
        let row = RowContext { table: "api_key", id: &self.id };
        if let Some(project) = &query.project {
            let columns = AccessColumns {
                scopes: "[]",
                all_projects: self.all_projects,
                projects: &self.projects,
                networks: "[]",
            };
            let projects: ProjectAccess = columns.to_domain(row)?.projects;
            if !projects.covers(Some(project)) {
                return Ok(None);
            }
        }
        if !query.labels.is_empty() && !query.has_labels(&row.json::<Labels>("labels", &self.labels)?) {
            return Ok(None);
        }
        let id = row.valid("id", KeyId::new(&self.id))?;
        Ok(Some(MatchingKey { id, bytes: u64::try_from(self.bytes).unwrap_or(0) }))
    }
}

impl ReadTx {
    /// Calls `take` with each unrevoked key that matches the query, in the order of their creation, until it returns
    /// false.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn for_each_unrevoked(
        &self,
        query: &KeyQuery,
        mut take: impl FnMut(MatchingKey) -> bool,
    ) -> Result<(), StorageError> {
        // Long texts are read only where they are compared, and then in smaller steps.
        let compares_texts = query.project.is_some() || !query.labels.is_empty();
        let limit = if compares_texts { ROWS_WITH_TEXTS } else { ROWS };
        let mut after = None;
        loop {
            let select = self.unrevoked(query, after.as_ref()).limit(limit as u64);
            let rows = bounded(async { Ok(select.into_model::<MatchingRow>().all(&self.tx).await?) }).await?;
            let is_last = rows.len() < limit;
            for row in rows {
                after = Some((row.create_revision, row.id.clone()));
                if let Some(key) = row.matching(query)?
                    && !take(key)
                {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// The unrevoked keys after a creation, in the order of an index.
    fn unrevoked(&self, query: &KeyQuery, after: Option<&(i64, String)>) -> Select<api_key::Entity> {
        let backend = self.tx.get_database_backend();
        // As an expression, so that no database prefers an index on `revoke_time` and sorts all keys for each step.
        let is_unrevoked = Expr::expr(Func::coalesce([Expr::col(Column::RevokeTime), Expr::val(0_i64)])).eq(0_i64);
        let mut select = query
            .by_creation(api_key::Entity::find())
            .filter(query.condition(backend))
            .filter(is_unrevoked)
            .order_by_asc(Column::CreateRevision)
            .order_by_asc(Column::Id)
            .select_only()
            .columns([Column::Id, Column::CreateRevision, Column::AllProjects])
            .column_as(row_size::of_key(backend), "bytes");
        if let Some((revision, id)) = after {
            let beyond = Condition::any().add(Column::CreateRevision.gt(*revision)).add(Column::Id.gt(id.as_str()));
            select = select.filter(Column::CreateRevision.gte(*revision)).filter(beyond);
        }
        select = match query.project {
            Some(_) => select.column(Column::Projects),
            None => select.column_as(Expr::val("[]"), "projects"),
        };
        if query.labels.is_empty() {
            select.column_as(Expr::val("{}"), "labels")
        } else {
            select.column(Column::Labels)
        }
    }

    /// The first `max` keys of the account, in the order of their creation, that were revoked together at `time` and
    /// still exist.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn revoked_together(
        &self,
        account: &AccountId,
        time: Timestamp,
        max: u64,
    ) -> Result<Vec<KeyId>, StorageError> {
        let select = api_key::Entity::find()
            .filter(Column::Account.eq(account.as_str()))
            .filter(Column::RevokeTime.eq(time.micros()))
            .order_by_asc(Column::CreateRevision)
            .order_by_asc(Column::Id)
            .limit(max);
        let ids = select.select_only().column(Column::Id);
        let ids: Vec<String> = bounded(async { Ok(ids.into_tuple().all(&self.tx).await?) }).await?;
        ids.iter().map(|id| RowContext { table: "api_key", id }.valid("id", KeyId::new(id))).collect()
    }
}

impl WriteTx<'_> {
    /// Revokes keys, and sets their update time and revision. All have the time of the change as their `revoke_time`, by
    /// which replicas find them. The keys must not be revoked yet, and be in the order of their IDs.
    ///
    /// # Errors
    /// If the write failed. Then the change must be rolled back.
    pub async fn revoke_keys(&self, ids: &[KeyId], reason: &str) -> Result<(), StorageError> {
        for ids in ids.chunks(ROWS) {
            let these = || is_one_of(self.tx.get_database_backend(), Column::Id, ids.iter().map(KeyId::as_str));
            bounded(async {
                if self.tx.get_database_backend() != DbBackend::Sqlite {
                    // In the order in which writes of usage lock the rows, to avoid deadlocks.
                    let rows = api_key::Entity::find().filter(these()).select_only().column(Column::Id);
                    rows.order_by_asc(Column::Id).lock_exclusive().into_tuple::<String>().all(&self.tx).await?;
                }
                api_key::Entity::update_many()
                    .col_expr(Column::RevokeTime, Expr::value(self.now.micros()))
                    .col_expr(Column::RevokeReason, Expr::value(reason))
                    .col_expr(Column::UpdateTime, Expr::value(self.now.micros()))
                    .col_expr(Column::Revision, Expr::value(self.revision.0))
                    .filter(these())
                    .exec(self.writer())
                    .await?;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}
