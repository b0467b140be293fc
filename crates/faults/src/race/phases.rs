//! The phases of a race, and when each began.

use std::sync::{Mutex, PoisonError};

use key_authority_testkit::clock::Clock;
use serde::Serialize;

/// A phase: a fault of the nemesis, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// No fault, and the cluster is stable.
    Quiet,
    /// A replica is stopped (SIGSTOP).
    Freeze,
    /// A replica is killed (SIGKILL) and restarted.
    Kill,
    /// A replica is terminated (SIGTERM) and restarted.
    Terminate,
    /// The database crashes and is restarted.
    DatabaseCrash,
    /// The link of a replica is cut.
    LinkCut,
    /// The link of a replica forwards nothing, and closes no connection.
    LinkSilent,
    /// The link of a replica delays every chunk.
    LinkSlow,
    /// The link of a replica resets connections.
    LinkLossy,
}

impl Phase {
    pub(crate) const ALL: [Self; 9] = [
        Self::Quiet,
        Self::Freeze,
        Self::Kill,
        Self::Terminate,
        Self::DatabaseCrash,
        Self::LinkCut,
        Self::LinkSilent,
        Self::LinkSlow,
        Self::LinkLossy,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Freeze => "SIGSTOP",
            Self::Kill => "kill -9, restart",
            Self::Terminate => "SIGTERM, restart",
            Self::DatabaseCrash => "database crash",
            Self::LinkCut => "link cut",
            Self::LinkSilent => "link silent",
            Self::LinkSlow => "link slow",
            Self::LinkLossy => "link lossy",
        }
    }
}

/// When each phase began.
#[derive(Debug)]
pub(crate) struct Phases {
    clock: Clock,
    begun: Mutex<Vec<(u64, Phase)>>,
}

impl Phases {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, begun: Mutex::new(vec![(0, Phase::Quiet)]) }
    }

    /// Records the begin of a phase. Call it before the fault is injected and after the previous one has healed.
    pub(crate) fn begin(&self, phase: Phase) {
        let now = self.clock.now();
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).push((now, phase));
    }

    /// How often a phase has begun, including the first quiet one.
    pub(crate) fn count(&self, phase: Phase) -> usize {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.iter().filter(|(_, begun)| *begun == phase).count()
    }

    /// The fault with the longest overlap with the time between two instants; `Quiet` if there is none.
    pub(crate) fn during(&self, from: u64, to: u64) -> Phase {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let first = begun.partition_point(|(at, _)| *at <= from).saturating_sub(1);
        let ends = begun.iter().skip(first + 1).map(|(at, _)| *at).chain([u64::MAX]);
        let met = begun.iter().skip(first).zip(ends).take_while(|((at, _), _)| *at <= to);
        let faults = met.filter(|((_, phase), _)| *phase != Phase::Quiet);
        let longest = faults.max_by_key(|((at, _), end)| end.min(&to) - at.max(&from));
        longest.map_or(Phase::Quiet, |((_, phase), _)| *phase)
    }
}
