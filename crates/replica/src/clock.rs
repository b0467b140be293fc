//! The clock: boottime, which runs on while the machine is suspended, as `Instant` does not.
//!
//! It measures leases and waiting. What time of day it is comes from the database; see [`WallClock`].

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use key_authority_domain::time::Timestamp;

/// An instant of the boot clock, in nanoseconds since the machine started. 0 is before any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Boottime(pub u64);

impl Boottime {
    /// The instant `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The instant `duration` earlier.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long it is from `earlier` to here; nothing when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// What the boot clock says now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this file owns the clock")]
pub fn boottime() -> Boottime {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Boottime(seconds * 1_000_000_000 + nanos)
}

/// The database's clock, carried on by the boot clock from one heartbeat to the next.
///
/// The wall clock of this machine is never asked: all replicas judge an expiry by the same clock.
#[derive(Debug, Default)]
pub struct WallClock {
    /// What the database's clock said less what the boot clock said, in microseconds.
    offset_us: AtomicI64,
}

impl WallClock {
    /// Notes that the database's clock said `said` at some instant between `asked` and `answered`.
    pub fn set(&self, said: Timestamp, asked: Boottime, answered: Boottime) {
        let between = asked.after(answered.since(asked) / 2);
        self.offset_us.store(said.micros().saturating_sub(micros(between)), Ordering::Relaxed);
    }

    /// What the database's clock says at `now`.
    #[must_use]
    pub fn at(&self, now: Boottime) -> Timestamp {
        Timestamp::from_micros(self.offset_us.load(Ordering::Relaxed).saturating_add(micros(now)))
    }
}

fn micros(time: Boottime) -> i64 {
    i64::try_from(time.0 / 1_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_moves_forward() {
        let before = boottime();
        assert!(boottime() >= before && before > Boottime(0));
    }

    #[test]
    fn the_database_clock_is_carried_on() {
        let clock = WallClock::default();
        clock.set(Timestamp::from_micros(5_000_000), Boottime(1_000_000), Boottime(3_000_000));
        assert_eq!(clock.at(Boottime(2_000_000)), Timestamp::from_micros(5_000_000));
        assert_eq!(clock.at(Boottime(12_000_000)), Timestamp::from_micros(5_010_000));
    }
}
