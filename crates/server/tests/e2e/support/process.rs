//! The program as a process: one that serves, with its output drained to files, and those that answer and end.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::in_time;

/// A call of the program, free of what the environment of the tests says to it.
pub(crate) fn program() -> Command {
    without_settings(Command::new(env!("CARGO_BIN_EXE_key-authority")))
}

/// The same under another program, such as `prlimit`, whose last argument it becomes.
pub(crate) fn program_under(wrapper: &[String]) -> Command {
    match wrapper.split_first() {
        None => program(),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(env!("CARGO_BIN_EXE_key-authority"));
            without_settings(command)
        }
    }
}

fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("KEY_AUTHORITY_") || text.starts_with("OTEL_") || text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// What a program that ended had to say.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// All that it said.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Fails unless it ended well.
    #[track_caller]
    pub(crate) fn well(self) -> Self {
        assert!(self.status.success(), "it ended with {}:\n{}", self.status, self.text());
        self
    }

    /// Fails unless it ended by itself with an exit code other than 0.
    #[track_caller]
    pub(crate) fn badly(self) -> Self {
        assert!(self.status.code().is_some_and(|code| code != 0), "it ended with {}:\n{}", self.status, self.text());
        assert!(!self.stderr.contains("panicked at"), "it panicked:\n{}", self.stderr);
        self
    }
}

/// Runs a command to its end.
pub(crate) async fn run(mut command: Command) -> Ended {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let shown = format!("{command:?}");
    let Output { status, stdout, stderr } =
        in_time(&shown, command.output()).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { status, stdout: text(stdout), stderr: text(stderr) }
}

/// Runs a subcommand of the program to its end.
pub(crate) async fn subcommand(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ended {
    let mut command = program();
    command.args(args);
    run(command).await
}

/// A server process.
pub(crate) struct Server {
    child: Child,
    /// Where it says that it serves gRPC.
    pub(crate) grpc: String,
    /// Where it says that it serves the HTTP door.
    pub(crate) api: String,
    /// Where it says that it serves HTTP.
    pub(crate) http: String,
}

impl Server {
    /// Starts `command` and reads from its output where it listens; all output goes into `stdout.log` and `stderr.log` in
    /// `folder`.
    pub(crate) async fn start(mut command: Command, folder: &Path) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut lines = drain(child.stdout.take().unwrap(), &folder.join("stdout.log"));
        drain(child.stderr.take().unwrap(), &folder.join("stderr.log"));
        let mut server = Self { child, grpc: String::new(), http: String::new(), api: String::new() };
        while server.grpc.is_empty() || server.http.is_empty() {
            let line = in_time("the server prints where it listens", lines.recv()).await;
            let Some(line) = line else { server.fail_to_start(folder).await };
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("gRPC"), Some(address)) => address.clone_into(&mut server.grpc),
                (Some("API"), Some(address)) => address.clone_into(&mut server.api),
                (Some("HTTP"), Some(address)) => address.clone_into(&mut server.http),
                _ => {}
            }
        }
        server
    }

    async fn fail_to_start(&mut self, folder: &Path) -> ! {
        let status = self.child.wait().await;
        panic!("the server ended with {status:?} before it was ready; its log:\n{}", tail(folder));
    }

    /// Its process ID.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the server has not ended")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Awaits its end.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        in_time("the server ends", self.child.wait()).await.unwrap()
    }

    /// Ends it at once, without a word to it.
    pub(crate) async fn kill(&mut self) {
        self.child.start_kill().unwrap();
        let status = self.wait().await;
        assert_eq!(status.signal(), Some(9), "it had ended before: {status}");
    }

    /// The same where nothing can be awaited.
    pub(crate) fn start_kill(&mut self) {
        let _ = self.child.start_kill();
    }
}

/// Writes what comes to the end of a file, so that whoever writes never waits; sends each line on.
fn drain(from: impl AsyncRead + Unpin + Send + 'static, to: &Path) -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    let mut log =
        File::options().create(true).append(true).open(to).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
    let mut from = BufReader::new(from).split(b'\n');
    tokio::spawn(async move {
        while let Ok(Some(line)) = from.next_segment().await {
            // The folder may be gone by now, with whoever wanted to read it.
            let _ = log.write_all(&[&line[..], b"\n"].concat());
            let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
        }
    });
    lines
}

/// All that a server wrote.
pub(crate) fn output(folder: &Path) -> String {
    let read = |name| String::from_utf8_lossy(&std::fs::read(folder.join(name)).unwrap_or_default()).into_owned();
    format!("{}{}", read("stdout.log"), read("stderr.log"))
}

/// The end of it.
pub(crate) fn tail(folder: &Path) -> String {
    let text = output(folder);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
