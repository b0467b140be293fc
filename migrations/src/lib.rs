//! Schema migrations.
//!
//! A released migration is never edited. It contains names as literals instead of references to the entities, so that
//! its effect never changes. To change the schema, add `m0006_<what>.rs` and list it last.

use sea_orm_migration::prelude::*;

mod columns;
mod indexes;
mod m0001_initial;
mod m0002_secret_scheme;
mod m0003_retired_and_log_format;
mod m0004_active_keys;
mod m0005_subjects;

/// The list of migrations, oldest first.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_initial::Migration),
            Box::new(m0002_secret_scheme::Migration),
            Box::new(m0003_retired_and_log_format::Migration),
            Box::new(m0004_active_keys::Migration),
            Box::new(m0005_subjects::Migration),
        ]
    }
}
