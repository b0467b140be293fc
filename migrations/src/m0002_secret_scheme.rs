//! `api_key_secret.scheme`: what a digest was computed from. Existing tokens have our format, number 0.

use sea_orm_migration::prelude::*;

use crate::columns::add_column;

/// The migration. Its name is stored in every migrated database.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0002_secret_scheme"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // A server of the previous build may still insert rows; they get the default.
        add_column(manager, "api_key_secret", ColumnDef::new("scheme").integer().not_null().default(0)).await
    }
}
