//! The durations that the setting `--lease` determines.

use std::time::Duration;

/// The durations of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseTimings {
    /// How long a change waits for a silent replica: the setting `--lease`.
    pub wait: Duration,
    /// How long a replica trusts a heartbeat, which is its lease: a fifth less than `wait`, so that clocks whose rates
    /// differ by up to a quarter agree.
    pub trust: Duration,
    /// The longest time between two heartbeats.
    pub heartbeat: Duration,
}

impl LeaseTimings {
    /// Returns the timings of a lease.
    #[must_use]
    pub fn new(lease: Duration) -> Self {
        Self { wait: lease, trust: lease * 4 / 5, heartbeat: Duration::from_secs(1).min(lease / 8) }
    }
}
