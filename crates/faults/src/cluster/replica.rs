//! One replica: the real server as a process, at an address that survives restarts.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use key_authority_testkit::process::{self, Process, log_end};
use rustix::process::Signal;
use tokio::time::{sleep, timeout};

use super::link::{Link, State};
use crate::client::Client;

/// How long a start may take, including migrations and recovery of the database.
const START_LIMIT: Duration = Duration::from_mins(1);

/// A replica.
#[derive(Debug)]
pub(crate) struct Replica {
    process: Option<Process>,
    pub(crate) name: String,
    /// Its gRPC address.
    pub(crate) address: String,
    /// The link to the database; None if it connects directly.
    link: Option<Link>,
    pub(crate) server: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) log: PathBuf,
}

impl Replica {
    pub(crate) fn new(
        name: String,
        address: String,
        link: Option<Link>,
        server: PathBuf,
        arguments: Vec<String>,
        log: PathBuf,
    ) -> Self {
        Self { process: None, name, address, link, server, arguments, log }
    }

    /// Starts the process, without waiting until it is ready.
    pub(crate) fn start(&mut self) -> Result<()> {
        let mut command = process::command(&self.server);
        command.args(&self.arguments);
        self.process = Some(Process::start(&self.name, command, &self.log)?);
        Ok(())
    }

    /// Waits until it answers Verify.
    pub(crate) async fn wait_until_ready(&mut self, client: &Client) -> Result<()> {
        let answers = timeout(START_LIMIT, async {
            loop {
                // Neither a stopped process nor a partitioned peer closes the connection, so the call needs a timeout.
                let answer = timeout(Duration::from_secs(1), client.verify("")).await;
                if matches!(answer, Ok(Ok(_))) {
                    return true;
                }
                if self.process.as_mut().is_some_and(|process| !process.is_running()) {
                    return false;
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
        if answers.await.unwrap_or(false) {
            return Ok(());
        }
        Err(anyhow!("{} is not ready; its log ends with:\n{}", self.name, log_end(&self.log)))
    }

    /// Its whole log.
    pub(crate) fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Stops the process (SIGSTOP), like a paused virtual machine.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.running()?.signal(Signal::STOP)
    }

    /// Continues it (SIGCONT).
    pub(crate) fn thaw(&self) -> Result<()> {
        self.running()?.signal(Signal::CONT)
    }

    /// Kills it (SIGKILL).
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.end(Signal::KILL).await
    }

    /// Terminates it (SIGTERM), and waits for its exit.
    pub(crate) async fn terminate(&mut self) -> Result<()> {
        self.end(Signal::TERM).await
    }

    /// Sets the state of the link, if there is one.
    pub(crate) fn set_link(&self, state: State) {
        if let Some(link) = &self.link {
            link.set(state);
        }
    }

    /// The link to the database.
    pub(crate) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    async fn end(&mut self, signal: Signal) -> Result<()> {
        let ended = self.process.take().with_context(|| format!("{} is down", self.name));
        ended?.end(signal).await
    }

    fn running(&self) -> Result<&Process> {
        self.process.as_ref().with_context(|| format!("{} is down", self.name))
    }
}
