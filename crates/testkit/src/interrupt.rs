//! Ending a run on SIGINT or SIGTERM.

use std::process::ExitCode;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

/// Runs `work` until it is done or a signal arrives. On a signal, `work` is dropped, which also ends the child
/// processes that it owns; the exit code is 128 plus the number of the signal.
///
/// # Errors
/// The error of `work`, or that no signal handler can be installed.
pub async fn until_interrupted(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        outcome = work => outcome,
        _ = interrupt.recv() => Ok(ExitCode::from(128 + 2)),
        _ = terminate.recv() => Ok(ExitCode::from(128 + 15)),
    }
}
