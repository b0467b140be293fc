//! The program `bench`.

use std::process::ExitCode;

use clap::Parser as _;
use key_authority_bench::command::{self, Cli};
use key_authority_testkit::say;

/// The allocator of the real server, so that the bare framework has the same.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    command::run(Cli::parse()).unwrap_or_else(|error| {
        say!("{error:#}");
        ExitCode::from(2)
    })
}
