//! The program `bench`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use key_authority_bench::command::{self, Cli};

/// The server's, so that the bare framework has the same.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match command::run(Cli::parse()) {
        Ok(code) => code,
        Err(trouble) => {
            // Nothing can be done about a console that is gone.
            let _ = writeln!(std::io::stderr(), "bench: {trouble}");
            ExitCode::from(2)
        }
    }
}
