//! Limits the log lines about mistakes in a proxy's configuration.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use key_authority_replica::clock::Boottime;

/// The shortest time between two log lines. Every request on a misconfigured route reports the same mistake, and its
/// client chooses how many requests there are.
const INTERVAL: Duration = Duration::from_mins(1);
/// The time of the last line, before the first one.
const NEVER: u64 = u64::MAX;

/// Limits how often configuration mistakes are logged.
#[derive(Debug)]
pub(crate) struct Misroutes {
    reported: AtomicU64,
}

impl Default for Misroutes {
    fn default() -> Self {
        Self { reported: AtomicU64::new(NEVER) }
    }
}

impl Misroutes {
    /// Whether a mistake may be logged now: none was logged within the last minute.
    pub(crate) fn is_due(&self, now: Boottime) -> bool {
        let reported = self.reported.load(Ordering::Relaxed);
        let is_due = reported == NEVER || now.since(Boottime(reported)) >= INTERVAL;
        is_due && self.reported.compare_exchange(reported, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_logged_once_a_minute() {
        let misroutes = Misroutes::default();
        let is_due = |seconds: u64| misroutes.is_due(Boottime(seconds * 1_000_000_000));
        let reports = [0, 1, 59, 60, 61, 119, 200].map(|seconds| (seconds, is_due(seconds)));
        let due: Vec<_> = reports.into_iter().filter_map(|(seconds, is_due)| is_due.then_some(seconds)).collect();
        assert_eq!(due, [0, 60, 200]);
    }
}
