//! The monotonic clock of a run. Any two of its readings can be compared, whichever task took them.

use std::time::{Duration, Instant};

/// A started clock. Copies share the start, and so show the same time.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Starts a clock.
    #[expect(clippy::disallowed_methods, reason = "this file owns the clock of the test tools")]
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    #[expect(clippy::disallowed_methods, reason = "this file owns the clock of the test tools")]
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Nanoseconds since the start. Never 0, so that 0 can stand for "not yet" in an atomic.
    #[must_use]
    pub fn now(self) -> u64 {
        u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// The time since an earlier reading of [`Clock::now`].
    #[must_use]
    pub fn since(self, earlier: u64) -> Duration {
        Duration::from_nanos(self.now().saturating_sub(earlier))
    }
}

/// Nanoseconds as seconds, for output.
#[must_use]
pub fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}
