//! Idempotent creation of indexes, because a killed process may already have created the index.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DbBackend, Statement};

/// Creates an index. MySQL and MariaDB commit each DDL statement implicitly, so the index may already exist there.
pub(crate) async fn create_index(
    manager: &SchemaManager<'_>,
    table: &'static str,
    name: &'static str,
    columns: &[&'static str],
) -> Result<(), DbErr> {
    if manager.get_database_backend() == DbBackend::MySql && has_index(manager, table, name).await? {
        return Ok(());
    }
    let mut index = Index::create();
    index.name(name).table(table);
    for column in columns {
        index.col(*column);
    }
    manager.create_index(index).await
}

async fn has_index(manager: &SchemaManager<'_>, table: &str, name: &str) -> Result<bool, DbErr> {
    let sql = "SELECT index_name FROM information_schema.statistics \
               WHERE table_schema = DATABASE() AND table_name = ? AND index_name = ?";
    let statement = Statement::from_sql_and_values(DbBackend::MySql, sql, [table.into(), name.into()]);
    Ok(manager.get_connection().query_one_raw(statement).await?.is_some())
}
