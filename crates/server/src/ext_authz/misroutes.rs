//! Mistakes in a proxy's configuration, for the log.

use std::sync::atomic::{AtomicI64, Ordering};

use key_authority_domain::time::Timestamp;

use crate::wire::violations::Violations;

/// How long one stands for all: every request on a misconfigured route comes to the same, and its client chooses how many.
const INTERVAL_MICROS: i64 = 60_000_000;

/// Remembers when a mistake was last told of.
#[derive(Debug)]
pub(super) struct Misroutes {
    reported_micros: AtomicI64,
}

impl Default for Misroutes {
    fn default() -> Self {
        Self { reported_micros: AtomicI64::new(i64::MIN) }
    }
}

impl Misroutes {
    /// Tells of a mistake, unless one was told of within the last minute.
    pub(super) fn report(&self, violations: &Violations, now: Timestamp) {
        if self.is_due(now) {
            tracing::warn!(%violations, "invalid ext_authz route configuration; denying its requests");
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let (now, told) = (now.micros(), self.reported_micros.load(Ordering::Relaxed));
        // The clock may have been set back.
        let is_due = !(0..INTERVAL_MICROS).contains(&now.saturating_sub(told));
        is_due && self.reported_micros.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_of_once_a_minute() {
        let misroutes = Misroutes::default();
        let is_due = |seconds: i64| misroutes.is_due(Timestamp::from_micros(seconds * 1_000_000));
        let asked = [0, 1, 59, 60, 61, 119, 200, 150, 151].map(|seconds| (seconds, is_due(seconds)));
        let due: Vec<_> = asked.into_iter().filter_map(|(seconds, is_due)| is_due.then_some(seconds)).collect();
        assert_eq!(due, [0, 60, 200, 150], "and when the clock was set back");
    }
}
