//! The one clock of the harness. Every instant in a history is read here, so any two of them can be compared.

use std::time::{Duration, Instant};

/// The clock: nanoseconds since it was made. Copies tell the same time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this file owns the harness's clock")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// What it shows. Never 0, which stands for "not yet".
    #[expect(clippy::disallowed_methods, reason = "this file owns the harness's clock")]
    pub(crate) fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// How long ago that was.
    pub(crate) fn since(self, earlier: u64) -> Duration {
        Duration::from_nanos(self.now().saturating_sub(earlier))
    }
}

/// An instant or a time in seconds, for people.
pub(crate) fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}
