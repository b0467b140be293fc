//! What the nemesis was doing, and when.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::clock::Clock;

/// What the nemesis does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Nothing, and the cluster has come to rest.
    Quiet,
    /// A replica is stopped by SIGSTOP.
    Freeze,
    /// A replica is killed and started again.
    Kill,
    /// A replica is ended by SIGTERM and started again.
    Terminate,
    /// The database crashes and is started again.
    DatabaseCrash,
    /// The link of a replica is cut.
    LinkCut,
    /// The link of a replica carries nothing, and nobody is told.
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

    /// Notes that a phase begins. To be called before its fault is made, and after the one before it has healed.
    pub(crate) fn begin(&self, phase: Phase) {
        let now = self.clock.now();
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).push((now, phase));
    }

    /// How often each phase has come, the first quiet one included.
    pub(crate) fn count(&self, phase: Phase) -> usize {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.iter().filter(|(_, begun)| *begun == phase).count()
    }

    /// The fault that something has met which lasted from one instant to another: of several, the one it has met for longest.
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
