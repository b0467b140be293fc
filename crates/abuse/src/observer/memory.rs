//! The server's resident memory over time, and the limit at which the rig kills it.

use std::time::Duration;

use anyhow::Result;
use key_authority_testkit::clock::Clock;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::interval;

use crate::samples::{Phase, Samples};
use crate::stage::Stage;

const INTERVAL: Duration = Duration::from_millis(100);
/// A server with more memory is killed, as by a container's limit.
const LIMIT_MIB: f64 = 2048.0;

/// Resident memory over time.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Seconds since the attack began, MiB, and the phase.
    points: Vec<(f64, f64, Phase)>,
}

impl Memory {
    /// Seconds since the attack began, and MiB.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        self.points.iter().map(|(time, mib, _)| (*time, *mib)).collect()
    }

    /// The largest memory during a phase and at its end, in MiB.
    pub(crate) fn of(&self, phase: Phase) -> (f64, f64) {
        let mut points = self.points.iter().filter(|(_, _, at)| *at == phase).map(|(_, mib, _)| *mib);
        (points.clone().fold(0.0, f64::max), points.next_back().unwrap_or_default())
    }
}

pub(super) async fn watch(stage: &Stage, samples: &Samples, pid: Pid) -> Result<Memory> {
    let (clock, mut ticks, mut points, mut attacked) = (Clock::start(), interval(INTERVAL), Vec::new(), None);
    let mut is_dead = false;
    while samples.phase() != Phase::Over {
        ticks.tick().await;
        let (now, phase) = (clock.elapsed().as_secs_f64(), samples.phase());
        let Some(mib) = resident_mib(pid) else {
            if !std::mem::replace(&mut is_dead, true) {
                stage.broken("the server has exited");
            }
            continue;
        };
        if phase == Phase::Attack {
            attacked.get_or_insert(now);
        }
        points.push((now, mib, phase));
        if mib > LIMIT_MIB && !is_dead {
            is_dead = true;
            stage.broken("killed: more than 2 GiB of memory");
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let began = attacked.unwrap_or_default();
    for (time, ..) in &mut points {
        *time -= began;
    }
    Ok(Memory { points })
}

/// The resident memory of a process; None if it has exited.
pub(crate) fn resident_mib(pid: Pid) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u32 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(f64::from(kib) / 1024.0)
}
