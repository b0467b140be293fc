//! `faults`: real servers, real databases and real faults.
//!
//! It starts a private database and replicas of the real server, injects faults, and checks the service's main promise:
//! when a call that changes something returns, every replica already enforces the change. Nothing is simulated; that is
//! the task of `crates/coherence`.
//!
//! To add a fault, add a phase in `race/phases.rs` and its injection in `race/nemesis.rs`.

mod arguments;
mod client;
mod cluster;
mod figures;
mod latency;
mod output;
mod race;
mod stats;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use key_authority_testkit::interrupt::until_interrupted;
use key_authority_testkit::say;

/// Tests the real server under real faults, with a private database and several replicas.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Cli {
    #[command(subcommand)]
    form: Form,
}

#[derive(Debug, Subcommand)]
enum Form {
    /// Verify against revocation under faults; exits with 1 if a promise is broken, with 2 if the harness fails
    Race(race::RaceArgs),
    /// The time until every replica has a change, beside a bare commit
    Latency(latency::LatencyArgs),
    /// The cost of single faults; exits with 1 if a promise is broken, with 2 if the harness fails
    Figures(figures::FiguresArgs),
}

/// The exit code when the harness fails. `ExitCode::FAILURE` stands for a broken promise.
const HARNESS_FAILED: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let work = async {
        let is_good = match cli.form {
            Form::Race(args) => race::race(args).await?,
            Form::Latency(args) => latency::latency(args).await?,
            Form::Figures(args) => figures::figures(args).await?,
        };
        Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(until_interrupted(work)));
    outcome.unwrap_or_else(|error| {
        say!("{error:#}");
        ExitCode::from(HARNESS_FAILED)
    })
}
