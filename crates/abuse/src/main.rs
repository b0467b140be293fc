//! `abuse`: attacks against the real server, beside a good client.
//!
//! Each attack has a server of its own. The rig measures a good client before and during the attack, the probes of the
//! operations port, the time that a revocation takes, and the memory of the server. It compares them with fixed bounds.
//!
//! - `attacks`: the attacks, one file each. To add one, add its file and its line in `attacks.rs`.
//! - `stage`: the server under attack, with its accounts, keys and callers.
//! - `peer`, `raw`, `frames`: HTTP/2 peers that do not behave.
//! - `http1`, `sign_in`: requests by HTTP/1.1, and the sign-in of the console.
//! - `observer`: the good client, the probes, the revocations and the memory.
//! - `report`: the bounds, the table and the JSON.
//! - `age`: connections that reach their age, with gRPC clients in Python.

mod age;
mod answers;
mod attack;
mod attacks;
mod client;
mod effort;
mod frames;
mod grpc;
mod http1;
mod observer;
mod peer;
mod raw;
mod report;
mod run;
mod samples;
mod server;
mod sign_in;
mod stage;

use std::process::ExitCode;

use clap::Parser as _;
use key_authority_testkit::interrupt::until_interrupted;
use key_authority_testkit::{progress, say};

/// The exit code when the rig fails. `ExitCode::FAILURE` stands for a broken bound.
const RIG_FAILED: u8 = 2;

fn main() -> ExitCode {
    let args = run::Args::parse();
    if args.list {
        for attack in attacks::ALL {
            progress::print(&format!("{:<28} {}", attack.name, attack.about));
        }
        return ExitCode::SUCCESS;
    }
    let work = async {
        let is_good = match args.age {
            Some(seconds) => age::run(&args, seconds).await?,
            None => Box::pin(run::run(&args)).await?,
        };
        Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    };
    // One thread: child processes are bound to the thread that spawns them, and this one lives as long as the run.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(until_interrupted(work)));
    outcome.unwrap_or_else(|error| {
        say!("{error:#}");
        ExitCode::from(RIG_FAILED)
    })
}
