//! Time: the one file of keyctl that reads clocks.

#![expect(clippy::disallowed_methods, reason = "the one file of keyctl that reads clocks")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 by this machine's clock. For words such as "3 hours ago" alone: what counts is judged by the authority.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Until when an answer is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    began: Instant,
    time: Duration,
}

impl Deadline {
    /// So long from now.
    pub(crate) fn after(time: Duration) -> Self {
        Self { began: Instant::now(), time }
    }

    /// Time left, zero when it has passed.
    pub(crate) fn remaining(self) -> Duration {
        self.time.saturating_sub(self.began.elapsed())
    }
}
