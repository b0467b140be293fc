//! The program `keyctl`: Key Authority at a terminal, over its gRPC API alone.
//!
//! A command is a file in `commands`: its flags, and a `run` that asks the authority through [`client`] and shows the answer
//! through [`console`]. What can go wrong is one enum in [`errors`], each with its next step and exit code.
//!
//! No secret is taken on the command line, where other users of the machine can read it, and a token that is shown stands on
//! standard output or in a file for its owner alone, never among remarks and errors.

mod arguments;
mod client;
mod clock;
mod commands;
mod confirm;
mod connection;
mod console;
mod errors;
mod fields;
mod import_file;
mod json;
mod private_file;
mod profile;
mod relative;
mod request_id;
mod table;
mod views;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::Cli;
use errors::{Error, Exit};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let ended = runtime.block_on(run_until_interrupted(cli));
            // A question at the terminal that was interrupted is still waiting for its line.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(Error::Runtime(error)),
    };
    let exit = ended.unwrap_or_else(|error| {
        let exit = error.exit();
        if exit != Exit::Done {
            console::note(&error.told());
        }
        exit
    });
    exit.into()
}

/// Runs the command. Interrupted, it is dropped, and with it what it had begun on this machine.
async fn run_until_interrupted(cli: Cli) -> Result<Exit, Error> {
    tokio::select! {
        ended = commands::run(cli) => ended,
        heard = tokio::signal::ctrl_c() => Err(heard.map_or_else(Error::Runtime, |()| Error::Interrupted)),
    }
}
