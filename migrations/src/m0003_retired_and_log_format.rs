//! Permanent retirement of secret versions, and exclusion of replicas that would misread the log.
//!
//! - `api_key_secret.retired`: whether a version of a secret is permanently retired, as a stored fact instead of a
//!   comparison of times. Versions whose retirement had passed at the newest event of the log are marked.
//! - `authority.log_format_min`: the minimum log format that a replica must understand to join.
//! - `authority.lease_us`: the lease. Builds before this migration compare their lease with `lease_ms` when they join.
//!   Once the log contains events that they would misread, `lease_ms` is changed to keep them out.
//! - `durability`: one row with a counter. A transaction that only reads increments it if it must wait until the data
//!   that it read is as durable as a commit. It is separate from `authority`, whose row every change locks.
//!
//! A server of the previous build may continue to run: its rows get the defaults.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DbBackend, Statement};

use crate::columns::add_column;

/// The migration. Its name is stored in every migrated database.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0003_retired_and_log_format"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        if manager.get_database_backend() == DbBackend::Postgres {
            // Readers queue behind a waiting ALTER, so fail early; the next start retries the migration.
            connection.execute_unprepared("SET LOCAL lock_timeout = '3s'").await?;
        }
        add_column(manager, "api_key_secret", ColumnDef::new("retired").boolean().not_null().default(false)).await?;
        let retired = if manager.get_database_backend() == DbBackend::Postgres { "TRUE" } else { "1" };
        let newest = "(SELECT event_time FROM audit_event ORDER BY revision DESC LIMIT 1)";
        let mark = format!("UPDATE api_key_secret SET retired = {retired} WHERE retire_time <= {newest}");
        connection.execute_unprepared(&mark).await?;
        make_durability(manager).await?;
        // Replicas read this table with each heartbeat, so it is locked last, after the slow statements. 16 is the
        // action of an import, which needs format 2.
        let sql = "SELECT 1 FROM audit_event WHERE action = 16 LIMIT 1";
        let import = Statement::from_string(manager.get_database_backend(), sql);
        let log_format = if connection.query_one_raw(import).await?.is_some() { 2 } else { 1 };
        add_column(manager, "authority", ColumnDef::new("log_format_min").integer().not_null().default(1)).await?;
        add_column(manager, "authority", ColumnDef::new("lease_us").big_integer().not_null().default(0)).await?;
        let fill = format!("UPDATE authority SET log_format_min = {log_format}, lease_us = lease_ms * 1000");
        connection.execute_unprepared(&fill).await?;
        Ok(())
    }
}

async fn make_durability(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut durability = Table::create();
    durability
        .table("durability")
        .if_not_exists()
        .col(ColumnDef::new("id").integer().not_null().primary_key())
        .col(ColumnDef::new("barrier").big_integer().not_null());
    if manager.get_database_backend() == DbBackend::MySql {
        durability.engine("InnoDB");
    }
    manager.create_table(durability).await?;
    let row = Query::insert()
        .into_table("durability")
        .columns(["id", "barrier"])
        .values_panic([1.into(), 0_i64.into()])
        .on_conflict(OnConflict::column("id").do_nothing_on(["id"]).to_owned())
        .to_owned();
    manager.execute(row).await
}
