//! What storage promises, on every database that it knows.
//!
//! Each test that a file lists in `on_every_database!` runs on SQLite, PostgreSQL and MariaDB, on a fresh database of its
//! own. To add one, write an `async fn` that takes a [`Database`](support::Database) and list it at the top of its file;
//! one that is not listed does not compile without a warning. Nothing here sleeps or tries twice.
#![cfg(test)]

mod audit;
mod bulk;
mod cancellation;
mod changes;
mod corrupt;
mod edges;
mod feed;
mod listing;
mod lost_commit;
mod outage;
mod registry;
mod schema;
mod secrets;
mod settings;
mod statements;
mod support;
mod usage;
mod values;
