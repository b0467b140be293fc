//! An index on the active keys of an account, so that a policy that counts only active keys does not make each creation
//! read all keys that the account ever had.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::indexes::create_index;

/// The migration. Its name is stored in every migrated database.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0004_active_keys"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            // Writers queue behind a waiting CREATE INDEX, so fail early; the next start retries the migration.
            manager.get_connection().execute_unprepared("SET LOCAL lock_timeout = '3s'").await?;
        }
        let columns = ["account", "revoke_time", "disabled", "expire_time"];
        create_index(manager, "api_key", "api_key_account_active", &columns).await
    }
}
