//! `api_key_secret.scheme`: what a digest was made of. Tokens that were here before are our own, number 0.

use sea_orm_migration::prelude::*;

use crate::columns::add_column;

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
        // A server of the build before this one may still write rows; they get the default.
        add_column(manager, "api_key_secret", ColumnDef::new("scheme").integer().not_null().default(0)).await
    }
}
