//! `api_key_secret.scheme`: what a digest was made of. Tokens that were here before are our own, number 0.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DbBackend, Statement};

/// Its name is in every database that has it.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0002_secret_scheme"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // MySQL and MariaDB commit the statement by itself: a process that was killed may have done it.
        if manager.get_database_backend() == DbBackend::MySql && has_column(manager).await? {
            return Ok(());
        }
        // A server of the build before this one may still write rows; they get the default.
        let mut scheme = ColumnDef::new("scheme");
        let table = Table::alter().table("api_key_secret").add_column(scheme.integer().not_null().default(0)).take();
        manager.alter_table(table).await
    }
}

async fn has_column(manager: &SchemaManager<'_>) -> Result<bool, DbErr> {
    let sql = "SELECT column_name FROM information_schema.columns \
               WHERE table_schema = DATABASE() AND table_name = 'api_key_secret' AND column_name = 'scheme'";
    let statement = Statement::from_string(DbBackend::MySql, sql);
    Ok(manager.get_connection().query_one_raw(statement).await?.is_some())
}
