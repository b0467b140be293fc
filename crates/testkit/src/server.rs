//! Starting a server that announces its addresses on standard output.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::process::Process;

/// A server that is ready.
#[derive(Debug)]
pub struct Server {
    /// Its process.
    pub process: Process,
    /// Where it serves gRPC.
    pub grpc: SocketAddr,
    /// Where its HTTP door is; None if it has none.
    pub api: Option<SocketAddr>,
    /// Where it serves metrics; None if it does not.
    pub http: Option<SocketAddr>,
    /// The time from its start to its announcement.
    pub started_in: Duration,
}

impl Server {
    /// Starts a server and waits until it announces its addresses, for at most `limit`. Its standard error goes to
    /// `log`.
    ///
    /// # Errors
    /// When it cannot be started, exits, or announces nothing in time.
    pub async fn start(name: &str, command: Command, log: &Path, limit: Duration) -> Result<Self> {
        let clock = Clock::start();
        let (process, stdout) = Process::start_piped(name, command, log)?;
        let announced = timeout(limit, announcement(stdout)).await;
        let announced = announced.map_err(|_| process.failure(&format!("was not ready within {limit:?}")))?;
        let Addresses { grpc, api, http } = announced.ok_or_else(|| process.failure("exited before it was ready"))?;
        let grpc = grpc.with_context(|| format!("{name} announced no gRPC address"))?;
        Ok(Self { process, grpc, api, http, started_in: clock.elapsed() })
    }
}

/// The addresses that a server announces.
#[derive(Debug, Default)]
struct Addresses {
    grpc: Option<SocketAddr>,
    api: Option<SocketAddr>,
    http: Option<SocketAddr>,
}

/// The announced addresses. The line `HTTP` comes last; None if the output ends before it.
async fn announcement(stdout: ChildStdout) -> Option<Addresses> {
    let mut lines = BufReader::new(stdout).lines();
    let mut addresses = Addresses::default();
    while let Some(line) = lines.next_line().await.ok().flatten() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("gRPC"), Some(address)) => addresses.grpc = address.parse().ok(),
            (Some("API"), Some(address)) => addresses.api = address.parse().ok(),
            (Some("HTTP"), Some(address)) => return Some(Addresses { http: address.parse().ok(), ..addresses }),
            _ => {}
        }
    }
    None
}
