//! The behaviour of storage on every supported database.
//!
//! Each test that a file lists in `on_every_database!` runs on SQLite, PostgreSQL and MariaDB, each time on a fresh
//! database. To add one, write an `async fn` that takes a [`Database`](support::Database) and list it at the top of its
//! file; the compiler warns of one that is not listed. No test sleeps or retries.
#![cfg(test)]

mod audit;
mod bulk;
mod cancellation;
mod changes;
mod corrupt;
mod edges;
mod feed;
mod large_account;
mod listing;
mod lost_commit;
mod new_database;
mod outage;
mod plan;
mod registry;
mod schema;
mod secrets;
mod settings;
mod statements;
mod support;
mod usage;
mod values;
