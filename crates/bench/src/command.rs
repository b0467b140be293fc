//! The command line.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use key_authority_testkit::interrupt::until_interrupted;

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
    /// Serves the bare framework, which `run` starts as the baseline
    #[command(hide = true)]
    Bare,
    /// Serves a bare axum handler, which `run` starts as the baseline of the HTTP door
    #[command(hide = true)]
    BareHttp,
}

/// Runs the command.
///
/// # Errors
/// When a measurement cannot be made. A figure that misses its goal is a result, not an error.
pub fn run(cli: Cli) -> Result<ExitCode> {
    match cli.form {
        Form::Bare => serve(bare::grpc::serve()),
        Form::BareHttp => serve(bare::http::serve()),
        // One thread: child processes are bound to the thread that spawns them, and this one lives as long as the run.
        Form::Run(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let work = async { run::run(*args).await.map(|()| ExitCode::SUCCESS) };
            runtime.block_on(until_interrupted(Box::pin(work)))
        }
    }
}

/// Runs a baseline on the same runtime as the real server.
fn serve(baseline: impl Future<Output = Result<()>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(baseline)?;
    Ok(ExitCode::SUCCESS)
}
