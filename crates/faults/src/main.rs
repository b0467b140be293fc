//! `faults`: real servers, real databases and real faults.
//!
//! It starts a private database and replicas of the real program, breaks things, and checks the one promise that the service
//! is made for: a change is over when its call returns. Nothing is simulated; `crates/coherence` does that.
//!
//! To add a fault: a phase in `race/phases.rs` and how it is made in `race/nemesis.rs`.

mod arguments;
mod chance;
mod client;
mod clock;
mod cluster;
mod figures;
mod latency;
mod output;
mod progress;
mod race;
mod stats;
mod trouble;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::progress::say;
use crate::trouble::Trouble;

/// Tries the real server with real faults: a private database, several replicas, and somebody who breaks things.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Cli {
    #[command(subcommand)]
    form: Form,
}

#[derive(Debug, Subcommand)]
enum Form {
    /// Verify against revocation under faults: exit code 1 when a promise was broken, 2 when the harness failed
    Race(race::RaceArgs),
    /// How long a change takes until every replica has it, beside a bare commit
    Latency(latency::LatencyArgs),
    /// What single faults cost: exit code 1 when a promise was broken, 2 when the harness failed
    Figures(figures::FiguresArgs),
}

/// The exit code when a promise was broken; `ExitCode::FAILURE`.
const TROUBLE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(Trouble::from).and_then(|runtime| runtime.block_on(until_interrupted(cli.form)));
    outcome.unwrap_or_else(|trouble| {
        say!("{trouble}");
        ExitCode::from(TROUBLE)
    })
}

/// Runs it, unless a signal ends it first: then whatever it has started is ended as it is dropped.
async fn until_interrupted(form: Form) -> Result<ExitCode, Trouble> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let work = async {
        match form {
            Form::Race(args) => race::race(args).await,
            Form::Latency(args) => latency::latency(args).await,
            Form::Figures(args) => figures::figures(args).await,
        }
    };
    let code = tokio::select! {
        outcome = work => if outcome? { ExitCode::SUCCESS } else { ExitCode::FAILURE },
        _ = interrupt.recv() => ExitCode::from(128 + 2),
        _ = terminate.recv() => ExitCode::from(128 + 15),
    };
    Ok(code)
}
