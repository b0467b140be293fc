//! The program `key-authority`.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use key_authority_server::observability::error_chain;
use key_authority_server::program::command;
use key_authority_server::program::config::Cli;

/// An answer takes some pieces of memory from one thread and often gives them back on another; this is made for that.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match command::run(Cli::parse().into_command()) {
        Ok(code) => code,
        Err(error) => {
            // Nothing can be done about a console that is gone.
            let _ = writeln!(std::io::stderr(), "key-authority: {}", error_chain::whole(&error));
            ExitCode::FAILURE
        }
    }
}
