//! Logs mistakes in a proxy's configuration.

use std::sync::atomic::{AtomicI64, Ordering};

use key_authority_domain::time::Timestamp;

use crate::wire::violations::Violations;

/// The shortest time between two log lines. Every request on a misconfigured route reports the same mistake, and its
/// client chooses how many requests there are.
const INTERVAL_MICROS: i64 = 60_000_000;

/// Logs configuration mistakes at a limited rate.
#[derive(Debug)]
pub(crate) struct Misroutes {
    reported_micros: AtomicI64,
}

impl Default for Misroutes {
    fn default() -> Self {
        Self { reported_micros: AtomicI64::new(i64::MIN) }
    }
}

impl Misroutes {
    /// Logs a mistake, unless one was logged within the last minute.
    pub(super) fn report(&self, violations: &Violations, now: Timestamp) {
        if self.is_due(now) {
            tracing::warn!(%violations, "invalid ext_authz route configuration; denying its requests");
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let (now, reported) = (now.micros(), self.reported_micros.load(Ordering::Relaxed));
        // The clock may have been set back.
        let is_due = !(0..INTERVAL_MICROS).contains(&now.saturating_sub(reported));
        is_due && self.reported_micros.compare_exchange(reported, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_logged_once_a_minute() {
        let misroutes = Misroutes::default();
        let is_due = |seconds: i64| misroutes.is_due(Timestamp::from_micros(seconds * 1_000_000));
        let reports = [0, 1, 59, 60, 61, 119, 200, 150, 151].map(|seconds| (seconds, is_due(seconds)));
        let due: Vec<_> = reports.into_iter().filter_map(|(seconds, is_due)| is_due.then_some(seconds)).collect();
        assert_eq!(due, [0, 60, 200, 150], "also after the clock was set back");
    }
}
