//! Processes of ours, and what the kernel says that they use. None outlives us, not even when we are killed.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::trouble::{Attempt as _, Trouble};

/// How long a server may take until it is ready. Ten million keys take their time.
const START_LIMIT: Duration = Duration::from_mins(15);

/// A call of `program` in a group of its own, out of reach of the terminal's Ctrl-C, which is for us, and without what our
/// environment says to servers.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=KILL").arg(program.as_ref());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("KEY_AUTHORITY_") || text.starts_with("OTEL_") || text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).process_group(0);
    command
}

/// A process that serves. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it says on standard error goes to `log`.
    ///
    /// To be called on a thread that lives as long as we do: the kernel ends the process with the thread that made it.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self, Trouble> {
        command.stderr(File::create(log).attempt(log.display())?);
        let child = command.spawn().attempt("a process")?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// What the kernel says of it.
    pub(crate) fn usage(&self) -> Result<Usage, Trouble> {
        self.child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .map(Usage)
            .ok_or_else(|| self.ended())
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// That it has ended, and its last words.
    pub(crate) fn ended(&self) -> Trouble {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        format!("a process of ours has ended; its log:\n{said}").into()
    }
}

impl Drop for Process {
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing can be awaited here, and its data must not go before it does"
    )]
    fn drop(&mut self) {
        let Ok(Usage(pid)) = self.usage() else { return };
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = kill_process(pid, Signal::KILL);
        for _ in 0..1_000 {
            if !self.is_running() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A process, as the kernel counts it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage(Pid);

impl Usage {
    /// The CPU time of all its threads, in user and kernel mode.
    pub(crate) fn cpu(self) -> Result<Duration, Trouble> {
        let text = self.read("stat")?;
        // The name of the program stands in parentheses and may hold anything.
        let fields = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).ok_or("stat has no name")?;
        let times = fields.skip(11).take(2).map(str::parse::<u64>).collect::<Result<Vec<_>, _>>()?;
        let ticks = u32::try_from(times.iter().sum::<u64>()).attempt("CPU time")?;
        let per_second = u32::try_from(rustix::param::clock_ticks_per_second()).attempt("ticks")?;
        Ok(Duration::from_secs(1) * ticks / per_second)
    }

    /// The memory that it holds, and the most that it ever held, in bytes.
    pub(crate) fn memory(self) -> Result<Memory, Trouble> {
        let text = self.read("status")?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("status has no memory")?;
            let kib = line.trim_start_matches(':').trim().trim_end_matches("kB").trim();
            kib.parse::<u64>().map(|kib| kib * 1024).attempt("memory")
        };
        Ok(Memory { now: field("VmRSS")?, most: field("VmHWM")? })
    }

    fn read(self, file: &str) -> Result<String, Trouble> {
        let path = format!("/proc/{}/{file}", self.0.as_raw_nonzero());
        std::fs::read_to_string(&path).attempt(path)
    }
}

/// Resident memory in bytes.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    pub(crate) most: u64,
}

/// A server that is ready.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) grpc: SocketAddr,
    /// Metrics, if it has any.
    pub(crate) http: Option<SocketAddr>,
    /// From its start until it said that it was ready.
    pub(crate) started_in: Duration,
}

impl Server {
    /// Starts one that says on standard output where it listens as soon as it is ready.
    pub(crate) async fn start(mut command: Command, log: &Path) -> Result<Self, Trouble> {
        command.stdout(Stdio::piped());
        let clock = Clock::start();
        let mut process = Process::start(command, log)?;
        let out = process.child.stdout.take().ok_or("no standard output")?;
        let mut lines = BufReader::new(out).lines();
        let mut grpc = None;
        let announced = timeout(START_LIMIT, async {
            while let Some(line) = lines.next_line().await.ok().flatten() {
                let mut words = line.split_whitespace();
                match (words.next(), words.next()) {
                    (Some("gRPC"), Some(address)) => grpc = address.parse().ok(),
                    (Some("HTTP"), Some(address)) => return Some(address.parse().ok()),
                    _ => {}
                }
            }
            None
        });
        let http = announced.await.attempt("a server did not get ready")?.ok_or_else(|| process.ended())?;
        let started_in = clock.elapsed();
        Ok(Self { process, grpc: grpc.ok_or("a server did not say where it listens")?, http, started_in })
    }
}
