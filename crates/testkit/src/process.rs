//! Child processes. Each leads a process group of its own, so that the terminal's Ctrl-C reaches the parent only. None
//! outlives the parent, even when the parent is killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How long a process may take to exit after a signal.
const EXIT_TIMEOUT: Duration = Duration::from_secs(15);

/// The user that a program runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// The user of the parent.
    Current,
    /// An unprivileged user: `nobody` if the parent is root. Database servers refuse to run as root.
    Unprivileged,
}

/// A command for `program`, as the current user; it gets SIGKILL when the parent dies.
pub fn command(program: impl AsRef<Path>) -> Command {
    command_as(program, User::Current, Signal::KILL)
}

/// A command for `program` without the parent's configuration of servers (`KEY_AUTHORITY_*`, `OTEL_*`, `RUST_LOG`).
/// It gets `parent_death_signal`, SIGQUIT or SIGKILL, when the thread that spawned it ends.
pub fn command_as(program: impl AsRef<Path>, user: User, parent_death_signal: Signal) -> Command {
    let mut command = Command::new("setpriv");
    // setpriv takes the names of signals only.
    command.arg(if parent_death_signal == Signal::QUIT { "--pdeathsig=QUIT" } else { "--pdeathsig=KILL" });
    if user == User::Unprivileged && rustix::process::geteuid().is_root() {
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

/// A running process. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    stop_signal: Signal,
}

impl Process {
    /// Starts `command` and appends its output to `log`.
    ///
    /// Call it on a thread that lives as long as the run: the kernel ends the process when that thread ends.
    ///
    /// # Errors
    /// When `log` cannot be opened or the program cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        command.stdout(open(log)?);
        Self::spawn(name, command, log)
    }

    /// Starts `command`, appends its standard error to `log`, and returns its standard output.
    ///
    /// # Errors
    /// Those of [`Process::start`].
    pub fn start_piped(name: &str, mut command: Command, log: &Path) -> Result<(Self, ChildStdout)> {
        command.stdout(Stdio::piped());
        let mut process = Self::spawn(name, command, log)?;
        let stdout = process.child.stdout.take().context("standard output is not piped")?;
        Ok((process, stdout))
    }

    fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let child = command.stderr(open(log)?).spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned(), stop_signal: Signal::KILL })
    }

    /// Sets the signal that ends the process when it is dropped. The default is SIGKILL.
    #[must_use]
    pub fn with_stop_signal(mut self, stop_signal: Signal) -> Self {
        self.stop_signal = stop_signal;
        self
    }

    /// Its process ID; None after it has exited.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// An error with the end of its log, for a process that exited or does not answer.
    #[must_use]
    pub fn failure(&self, what: &str) -> anyhow::Error {
        anyhow!("{} {what}; its log ends with:\n{}", self.name, log_end(&self.log))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has exited.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().with_context(|| format!("{} has exited", self.name))?;
        kill_process(pid, signal).with_context(|| format!("cannot send a signal to {}", self.name))
    }

    /// Sends a signal that ends it, and waits until it has exited.
    ///
    /// # Errors
    /// When it does not exit in time, or exits with an error after SIGTERM.
    pub async fn end(&mut self, signal: Signal) -> Result<()> {
        self.signal(signal)?;
        let Ok(status) = timeout(EXIT_TIMEOUT, self.child.wait()).await else {
            bail!("{} did not exit within {EXIT_TIMEOUT:?}", self.name);
        };
        let status = status.with_context(|| format!("cannot wait for {}", self.name))?;
        if signal == Signal::TERM && !status.success() {
            bail!("{} exited with {status} after SIGTERM", self.name);
        }
        Ok(())
    }
}

impl Drop for Process {
    #[expect(clippy::disallowed_methods, reason = "drop cannot await, and the caller removes the process's data next")]
    fn drop(&mut self) {
        let Some(pid) = self.pid() else { return };
        let _ = kill_process(pid, self.stop_signal);
        // A stopped process handles no other signal before it continues.
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

fn open(log: &Path) -> Result<File> {
    let file = File::options().create(true).append(true).open(log);
    file.with_context(|| format!("cannot open {}", log.display()))
}

/// The last 40 lines of a log; empty if it cannot be read.
#[must_use]
pub fn log_end(log: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// When it cannot be started or exits with an error; the message holds its standard error.
pub async fn run(mut command: Command) -> Result<String> {
    let shown = format!("{:?}", command.as_std());
    let output = command.kill_on_drop(true).output().await.with_context(|| shown.clone())?;
    if !output.status.success() {
        bail!("{shown}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn dropping_a_stopped_process_ends_it() {
        let mut sleep = command("sleep");
        sleep.arg("600");
        let process = Process::start("sleep", sleep, Path::new("/dev/null")).unwrap().with_stop_signal(Signal::TERM);
        let pid = process.pid().unwrap();
        process.signal(Signal::STOP).unwrap();
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[tokio::test]
    async fn the_error_of_a_command_shows_its_standard_error() {
        let mut shell = command("sh");
        shell.args(["-c", "echo reason >&2; exit 3"]);
        let error = run(shell).await.unwrap_err().to_string();
        assert!(error.ends_with("exit status: 3: reason\n"), "{error}");
    }
}
