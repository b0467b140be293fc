//! The clocks of the benchmark: the time that passes, and the CPU time of the thread that asks.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A clock that was started. Copies tell the same time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this file owns the benchmark's clocks")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// How long ago it was started.
    #[expect(clippy::disallowed_methods, reason = "this file owns the benchmark's clocks")]
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The CPU time that this thread has used.
#[expect(clippy::disallowed_methods, reason = "this file owns the benchmark's clocks")]
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // A thread has used no negative time.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
