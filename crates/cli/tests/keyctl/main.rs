//! Tests of the program `keyctl` with a real server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that panics has failed, which is all that it should do"
)]

mod certificates;
mod commands;
mod connect;
mod connection;
mod errors;
mod files;
mod import;
mod interrupted;
mod output;
mod prompts;
mod report;
mod session;
mod support;

#[path = "../../../server/tests/documents/run.rs"]
mod run;
#[path = "../../../server/tests/clients/server.rs"]
mod server;
