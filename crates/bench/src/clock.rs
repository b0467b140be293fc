//! The clocks of the benchmark: the time that passes, and the CPU time of the thread that asks.

use std::num::NonZeroU64;
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

/// Puts this thread to sleep. To the microsecond, where the kernel would else wake a few threads at once.
#[expect(clippy::disallowed_methods, reason = "for a thread of its own that keeps time")]
pub(crate) fn sleep(time: Duration) {
    // What cannot be had makes the times a little worse, and honestly so: they are counted from when a call was due.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    std::thread::sleep(time);
}
