//! Idempotent addition of columns, because a killed process may already have added the column.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DbBackend, Statement};

/// Adds a column to a table. MySQL and MariaDB commit each DDL statement implicitly, so the column may already exist
/// there.
pub(crate) async fn add_column(
    manager: &SchemaManager<'_>,
    table: &'static str,
    column: &mut ColumnDef,
) -> Result<(), DbErr> {
    let name = column.get_column_name();
    if manager.get_database_backend() == DbBackend::MySql && has_column(manager, table, &name).await? {
        return Ok(());
    }
    manager.alter_table(Table::alter().table(table).add_column(column.take()).take()).await
}

async fn has_column(manager: &SchemaManager<'_>, table: &str, column: &str) -> Result<bool, DbErr> {
    let sql = "SELECT column_name FROM information_schema.columns \
               WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ?";
    let statement = Statement::from_sql_and_values(DbBackend::MySql, sql, [table.into(), column.into()]);
    Ok(manager.get_connection().query_one_raw(statement).await?.is_some())
}
