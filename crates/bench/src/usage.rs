//! CPU time and memory of a process, as the kernel counts them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use key_authority_testkit::process::Process;
use rustix::process::Pid;

/// A process whose usage is read from `/proc`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage(Pid);

impl Usage {
    pub(crate) fn of(process: &Process) -> Result<Self> {
        process.pid().map(Self).ok_or_else(|| process.failure("has exited"))
    }

    /// The CPU time of all its threads, in user and kernel mode.
    pub(crate) fn cpu(self) -> Result<Duration> {
        let text = self.read("stat")?;
        // The second field is the program's name in parentheses, which may contain spaces and parentheses.
        let (_, fields) = text.rsplit_once(')').context("no program name in /proc/PID/stat")?;
        let times = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).collect::<Result<Vec<_>, _>>()?;
        let ticks = u32::try_from(times.iter().sum::<u64>()).context("CPU time is out of range")?;
        let per_second = u32::try_from(rustix::param::clock_ticks_per_second()).context("invalid clock tick rate")?;
        Ok(Duration::from_secs(1) * ticks / per_second)
    }

    /// Its resident memory.
    pub(crate) fn memory(self) -> Result<Memory> {
        let text = self.read("status")?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.with_context(|| format!("no {name} in /proc/PID/status"))?;
            let kib = kib.trim_start_matches(':').trim().trim_end_matches("kB").trim();
            anyhow::Ok(kib.parse::<u64>()? * 1024)
        };
        Ok(Memory { now: field("VmRSS")?, most: field("VmHWM")? })
    }

    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0.as_raw_nonzero());
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

/// Resident memory in bytes, now and at its peak.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    pub(crate) most: u64,
}
