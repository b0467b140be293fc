//! Processes of ours. Each leads a group of its own, out of reach of the terminal's Ctrl-C, which is for us; and none
//! outlives us, not even when we are killed.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::trouble::{Attempt as _, Trouble};

/// How long a process that was asked to end may take.
const END_LIMIT: Duration = Duration::from_secs(15);

/// Who a program runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// Whoever runs the harness.
    Us,
    /// An ordinary user: the databases refuse to be root. `nobody` owns nothing that a mistake could harm.
    Ordinary,
}

/// A call of `program`, without what our environment says to servers.
pub(crate) fn command(program: impl AsRef<Path>, user: User, at_our_death: Signal) -> Command {
    let mut command = Command::new("setpriv");
    // It knows them by name only.
    command.arg(if at_our_death == Signal::QUIT { "--pdeathsig=QUIT" } else { "--pdeathsig=KILL" });
    if user == User::Ordinary && rustix::process::geteuid().is_root() {
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
    }
    command.arg(program.as_ref());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("KEY_AUTHORITY_") || text.starts_with("OTEL_") || text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).process_group(0);
    command
}

/// A process that serves, with its output in a file. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    /// What ends it without leaving anything behind.
    last_signal: Signal,
}

impl Process {
    /// Starts `command`; what it writes goes to the end of `log`.
    ///
    /// To be called on a thread that lives as long as the harness: the kernel ends the process with the thread that made it.
    pub(crate) fn start(name: &str, mut command: Command, log: &Path, last_signal: Signal) -> Result<Self, Trouble> {
        let log = File::options().create(true).append(true).open(log).attempt(log.display())?;
        command.stdout(log.try_clone().attempt("the log")?).stderr(log);
        let child = command.spawn().attempt(name)?;
        Ok(Self { child, name: name.to_owned(), last_signal })
    }

    /// Its process ID; None when it has ended.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Trouble> {
        let pid = self.pid().ok_or_else(|| format!("{} has ended", self.name))?;
        kill_process(pid, signal).attempt(&self.name)
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal that ends it, and awaits the end. One that is asked to end, and not made to, must end well.
    pub(crate) async fn end(&mut self, signal: Signal) -> Result<(), Trouble> {
        self.signal(signal)?;
        let ended = timeout(END_LIMIT, self.child.wait()).await;
        let status = ended.attempt(format!("{} did not end within {END_LIMIT:?}", self.name))?.attempt(&self.name)?;
        if signal == Signal::TERM && !status.success() {
            return Err(format!("{} was asked to end, and ended with {status}", self.name).into());
        }
        Ok(())
    }
}

impl Drop for Process {
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing can be awaited here, and its data must not go before it does"
    )]
    fn drop(&mut self) {
        let Some(pid) = self.pid() else { return };
        let _ = kill_process(pid, self.last_signal);
        // A process that is stopped heeds nothing else.
        let _ = kill_process(pid, Signal::CONT);
        for _ in 0..1_000 {
            if !self.is_running() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Runs a command to its end, which must be good.
pub(crate) async fn run(mut command: Command) -> Result<String, Trouble> {
    let shown = format!("{:?}", command.as_std());
    let output = command.kill_on_drop(true).output().await.attempt(&shown)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{shown}: {}: {said}", output.status).into())
}
