//! The program `keyctl`: the command line client of Key Authority. It uses only the gRPC API.
//!
//! A command is a file in `commands`: its flags, and a `run` that calls the authority through `client` and prints the
//! response through `console`. `errors` defines all errors, each with its next step and exit code.
//!
//! No argument contains a secret, because other users of the machine can read arguments. A token is printed only on
//! standard output or written to a file for its owner alone, never in notes and errors.

mod arguments;
mod client;
mod clock;
mod commands;
mod confirm;
mod connection;
mod console;
mod errors;
mod escape;
mod fields;
mod import_file;
mod json;
mod private_file;
mod profile;
mod relative;
mod request_id;
mod table;
#[doc(hidden)]
pub mod testing;
mod text_file;
mod token_input;
mod views;

use std::process::ExitCode;

use clap::CommandFactory as _;

use arguments::Cli;
use errors::{Error, Exit};

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let ended = Cli::of_process().map_or_else(|error| console::explain(&error), run);
    let exit = ended.unwrap_or_else(|error| {
        let exit = error.exit();
        if exit != Exit::Done {
            console::note(&error.report());
        }
        exit
    });
    exit.into()
}

/// Runs the command on a runtime of its own.
fn run(cli: Cli) -> Result<Exit, Error> {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let ended = runtime.block_on(run_until_interrupted(cli));
            // An interrupted question still blocks a thread on its input.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(Error::Runtime(error)),
    }
}

/// Runs the command. An interrupt drops it, which removes unfinished files.
async fn run_until_interrupted(cli: Cli) -> Result<Exit, Error> {
    let Cli { command, output, connection } = cli;
    tokio::select! {
        ended = commands::run(Cli::command, command, output, connection) => ended,
        signal = tokio::signal::ctrl_c() => Err(signal.map_or_else(Error::Runtime, |()| Error::Interrupted)),
    }
}
