//! One replica: the real server as a process, at an address that stays the same from one start to the next.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{sleep, timeout};

use super::link::{Link, State};
use super::process::{self, Process, User};
use crate::client::Client;
use crate::trouble::Trouble;

/// How long a start may take, migrations and recovery of the database included.
const START_LIMIT: Duration = Duration::from_mins(1);

/// A replica.
#[derive(Debug)]
pub(crate) struct Replica {
    process: Option<Process>,
    pub(crate) name: String,
    /// Where it serves gRPC.
    pub(crate) address: String,
    /// Between it and the database; none when it connects directly.
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

    /// Starts the process; it may not answer yet.
    pub(crate) fn start(&mut self) -> Result<(), Trouble> {
        let mut command = process::command(&self.server, User::Us, Signal::KILL);
        command.args(&self.arguments);
        self.process = Some(Process::start(&self.name, command, &self.log, Signal::KILL)?);
        Ok(())
    }

    /// Awaits that it answers Verify.
    pub(crate) async fn until_it_answers(&mut self, client: &Client) -> Result<(), Trouble> {
        let answers = timeout(START_LIMIT, async {
            loop {
                // A process that is stopped or a peer that is cut off does not answer, and does not refuse either.
                let asked = timeout(Duration::from_secs(1), client.ask("")).await;
                if asked.is_ok_and(|answer| answer.is_ok()) {
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
        Err(format!("{} does not answer; the end of its log:\n{}", self.name, self.log_end()).into())
    }

    /// The end of what it wrote.
    pub(crate) fn log_end(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    }

    /// All that it wrote.
    pub(crate) fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Stops it where it stands, as a hypervisor or a debugger does.
    pub(crate) fn freeze(&self) -> Result<(), Trouble> {
        self.running()?.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) -> Result<(), Trouble> {
        self.running()?.signal(Signal::CONT)
    }

    /// Ends it as a power cut would.
    pub(crate) async fn kill(&mut self) -> Result<(), Trouble> {
        self.end(Signal::KILL).await
    }

    /// Asks it to end, and awaits that it does.
    pub(crate) async fn terminate(&mut self) -> Result<(), Trouble> {
        self.end(Signal::TERM).await
    }

    /// Does something to the link.
    pub(crate) fn set_link(&self, state: State) {
        if let Some(link) = &self.link {
            link.set(state);
        }
    }

    /// The link to the database.
    pub(crate) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    async fn end(&mut self, signal: Signal) -> Result<(), Trouble> {
        let ended = self.process.take().ok_or_else(|| format!("{} is down", self.name));
        ended?.end(signal).await
    }

    fn running(&self) -> Result<&Process, Trouble> {
        self.process.as_ref().ok_or_else(|| format!("{} is down", self.name).into())
    }
}
