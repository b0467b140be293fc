//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::trouble::Trouble;
use crate::{bare, run};

/// Measures what Verify costs, beside the bare framework and beside Redis.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub struct Cli {
    #[command(subcommand)]
    form: Form,
}

#[derive(Debug, Subcommand)]
enum Form {
    /// Measures, and writes the report
    Run(Box<run::RunArgs>),
    /// The bare framework: what `run` starts to have something to compare with
    #[command(hide = true)]
    Bare,
}

/// Does what the command line says.
///
/// # Errors
/// When nothing could be measured.
pub fn run(cli: Cli) -> Result<ExitCode, Trouble> {
    match cli.form {
        // As the real server has it.
        Form::Bare => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(bare::serve())?;
            Ok(ExitCode::SUCCESS)
        }
        // One thread, which lives as long as the processes that it starts.
        Form::Run(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(until_interrupted(*args))
        }
    }
}

/// Runs it, unless a signal ends it first: then whatever it has started is ended as it is dropped.
async fn until_interrupted(args: run::RunArgs) -> Result<ExitCode, Trouble> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        outcome = Box::pin(run::run(args)) => outcome.map(|()| ExitCode::SUCCESS),
        _ = interrupt.recv() => Ok(ExitCode::from(128 + 2)),
        _ = terminate.recv() => Ok(ExitCode::from(128 + 15)),
    }
}
