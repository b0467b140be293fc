//! `audit_event.subject` and `api_key.created_by_subject`: the user of a product for whom a change was made, or a key
//! was created, in a portal session.
//!
//! A server of the previous build may continue to run: its rows get no subject.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::columns::add_column;

/// The migration. Its name is stored in every migrated database.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0005_subjects"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            // Readers queue behind a waiting ALTER, so fail early; the next start retries the migration.
            manager.get_connection().execute_unprepared("SET LOCAL lock_timeout = '3s'").await?;
        }
        add_column(manager, "audit_event", ColumnDef::new("subject").string_len(128)).await?;
        add_column(manager, "api_key", ColumnDef::new("created_by_subject").string_len(128)).await
    }
}
