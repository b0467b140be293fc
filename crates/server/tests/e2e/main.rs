//! The authority as its users meet it: a real server process, real databases, gRPC on a socket.
//!
//! Every scenario listed in `on_every_database!` runs on SQLite, PostgreSQL and MariaDB, with a server and a database of
//! its own. To add one, write an `async fn` that takes an [`Authority`] (or a [`Database`], to start one with other
//! settings) and list it in the macro at the end of its file; one that is not listed does not compile without a warning.
//! Nothing here sleeps or retries: it awaits an event, or asks until a deadline where nothing tells of the event.
#![cfg(test)]

mod api;
mod callers;
mod connections;
mod console;
mod coverage;
mod database_settings;
mod door;
mod ended;
#[cfg(feature = "ext-authz")]
mod envoy;
#[cfg(feature = "ext-authz")]
mod ext_authz;
mod grants;
mod input;
mod kill;
mod operations;
mod outage;
mod products;
mod proxies;
mod replicas;
mod residency;
mod secrets;
mod sqlite_file;
mod support;
mod whole_server;
