//! The CPU time of the current thread, and its sleep.

use std::num::NonZeroU64;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The CPU time that this thread has used.
#[expect(clippy::disallowed_methods, reason = "this file owns the benchmark's CPU clock")]
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // CPU time is never negative.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Blocks this thread, with a timer slack of 1 ns instead of the default 50 µs.
#[expect(clippy::disallowed_methods, reason = "only the pacing thread calls it, and that thread runs no tasks")]
pub(crate) fn sleep(time: Duration) {
    // If this fails, sleeps are less exact. Latency counts from the due time, so the figures include that.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    std::thread::sleep(time);
}
