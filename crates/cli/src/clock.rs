//! Clocks. This is the only file of keyctl that reads clocks.

#![expect(clippy::disallowed_methods, reason = "the only file of keyctl that reads clocks")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch by this machine's clock. It is used only to display relative times; the authority
/// decides by its own clock.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The deadline of a call with its retries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    began: Instant,
    time: Duration,
}

impl Deadline {
    /// A deadline `time` from now.
    pub(crate) fn after(time: Duration) -> Self {
        Self { began: Instant::now(), time }
    }

    /// The time left, or zero after the deadline.
    pub(crate) fn remaining(self) -> Duration {
        self.time.saturating_sub(self.began.elapsed())
    }
}
