//! The clock: boottime, which runs on while the machine is suspended, as `Instant` does not.
//!
//! It measures leases and waiting. The time of day comes from the database; see [`WallClock`].

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
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

/// How far the database's clock must be from where it was expected, beyond all uncertainty, to count as a step.
const STEP_US: i64 = 1_000_000;
/// While the authority's time is ahead of the database's clock, it advances by 9 s in 10 s.
const SLOW_RATE: (i64, i64) = (9, 10);
/// How much two clocks are taken to drift apart: 1 ms in 1 s.
const DRIFT: i64 = 1_000;
/// How long after it was made a new estimate comes into use. It is published at once; the lead covers a thread that is kept
/// from running in between.
const LEAD: Duration = Duration::from_millis(50);

/// The authority's time, by which expiry is judged: the database's clock, carried on by the boot clock from one heartbeat to
/// the next. The wall clock of this machine is never asked, so all replicas judge by the same clock.
///
/// The time never goes back, and is never earlier than the newest event of the log: what has expired stays expired when the
/// database's clock steps back. Until that clock has caught up, the time advances at nine tenths of its rate. A step forward
/// is followed at once.
///
/// What is shown is a function of the instant of the boot clock alone: an estimate is used from an instant on that lies after
/// its publication. So two readers never disagree on the order of what they see, as long as each reads the boot clock first.
#[derive(Debug, Default)]
pub struct WallClock {
    estimates: ArcSwap<Estimates>,
}

/// The estimate that is used until `from`, and the one that is used from then on.
#[derive(Debug, Clone, Copy, Default)]
struct Estimates {
    before: Estimate,
    after: Estimate,
    from: Boottime,
}

/// An estimate of the database's clock.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    /// When it was made; 0 before the first.
    at: Boottime,
    /// What the database's clock shows less what the boot clock shows, in microseconds.
    offset_us: i64,
    /// By how much that may be wrong, either way.
    error_us: i64,
    /// The time from which the authority's time goes on, at `from`, if it is ahead of the database's clock.
    floor_us: i64,
    from: Boottime,
}

impl Default for Estimate {
    fn default() -> Self {
        Self { at: Boottime(0), offset_us: 0, error_us: 0, floor_us: i64::MIN, from: Boottime(0) }
    }
}

impl Estimate {
    fn by_database(&self, now: Boottime) -> i64 {
        self.offset_us.saturating_add(micros(now))
    }

    fn at(&self, now: Boottime) -> i64 {
        let since = i64::try_from(now.since(self.from).as_micros()).unwrap_or(i64::MAX);
        self.by_database(now).max(self.floor_us.saturating_add(since / SLOW_RATE.1 * SLOW_RATE.0))
    }
}

impl Estimates {
    fn in_use(&self, now: Boottime) -> &Estimate {
        if now < self.from { &self.before } else { &self.after }
    }
}

/// A step of the database's clock, as [`WallClock::set`] noticed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStep {
    /// By how many microseconds the clock went forward, or back if negative.
    pub by_us: i64,
}

impl WallClock {
    /// Takes note that the database's clock said `said` at some instant between `asked` and `answered`, and that the newest
    /// event of the log is of `newest`. Says whether the clock stepped since the last time. For one task alone.
    ///
    /// An answer that took long says little about when the clock was read, so it does not replace an estimate that it does
    /// not contradict.
    pub fn set(&self, said: Timestamp, newest: Timestamp, asked: Boottime, answered: Boottime) -> Option<ClockStep> {
        let estimates = **self.estimates.load();
        if answered < estimates.from {
            // The last one is not in use yet; the next heartbeat comes soon.
            return None;
        }
        let last = estimates.after;
        let error_us = micros(Boottime(answered.0.saturating_sub(asked.0))) / 2 + 1;
        let offset_us = said.micros().saturating_sub(micros(asked)).saturating_sub(error_us);
        let is_first = last.at == Boottime(0);
        let drifted_us = last.error_us.saturating_add(micros(Boottime(answered.0.saturating_sub(last.at.0))) / DRIFT);
        let apart_us = offset_us.saturating_sub(last.offset_us);
        let contradiction_us = apart_us.saturating_abs().saturating_sub(error_us).saturating_sub(drifted_us);
        let is_kept = !is_first && contradiction_us <= 0 && error_us >= drifted_us;
        let (offset_us, error_us) = if is_kept { (last.offset_us, drifted_us) } else { (offset_us, error_us) };
        if is_kept && newest.micros() <= last.at(answered) {
            return None;
        }
        let from = if is_first { Boottime(0) } else { answered.after(LEAD) };
        let floor_us = if is_first { newest.micros() } else { last.at(from).max(newest.micros()) };
        let floor_from = if is_first { answered } else { from };
        let after = Estimate { at: answered, offset_us, error_us, floor_us, from: floor_from };
        self.estimates.store(Arc::new(Estimates { before: last, after, from }));
        (!is_first && contradiction_us > STEP_US).then_some(ClockStep { by_us: apart_us })
    }

    /// The authority's time at `now`.
    #[must_use]
    pub fn at(&self, now: Boottime) -> Timestamp {
        Timestamp::from_micros(self.estimates.load().in_use(now).at(now))
    }

    /// How far the authority's time is ahead of the database's clock at `now`.
    #[must_use]
    pub fn ahead(&self, now: Boottime) -> Duration {
        let estimates = self.estimates.load();
        let estimate = estimates.in_use(now);
        let ahead = estimate.at(now).saturating_sub(estimate.by_database(now));
        Duration::from_micros(u64::try_from(ahead).unwrap_or(0))
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

    /// A clock that was last set at second 1 to second 5 of the database's clock.
    fn clock() -> WallClock {
        let clock = WallClock::default();
        assert_eq!(set(&clock, 1, 5_000_000), None, "nothing is known to step from");
        clock
    }

    fn seconds(boottime: u64) -> Boottime {
        Boottime(boottime * 1_000_000_000)
    }

    /// Sets it by an answer that took a millisecond.
    fn set(clock: &WallClock, boottime: u64, said_us: i64) -> Option<i64> {
        set_slowly(clock, boottime, said_us, Duration::from_millis(1))
    }

    fn set_slowly(clock: &WallClock, boottime: u64, said_us: i64, took: Duration) -> Option<i64> {
        let (asked, answered) = (seconds(boottime), seconds(boottime).after(took));
        let step = clock.set(Timestamp::from_micros(said_us), Timestamp::MIN, asked, answered);
        step.map(|ClockStep { by_us }| by_us / 1_000_000)
    }

    /// In whole seconds, rounded.
    fn at(clock: &WallClock, boottime: u64) -> i64 {
        (clock.at(seconds(boottime)).micros() + 500_000) / 1_000_000
    }

    #[test]
    fn the_database_clock_is_carried_on() {
        let clock = clock();
        assert_eq!((at(&clock, 2), at(&clock, 11)), (6, 15));
    }

    #[test]
    fn a_step_back_is_noticed_once_and_time_goes_on_slowly() {
        let clock = clock();
        assert_eq!(at(&clock, 11), 15);
        assert_eq!(set(&clock, 11, 5_000_000), Some(-10));
        assert_eq!((at(&clock, 11), at(&clock, 21)), (15, 24), "nine of ten seconds");
        assert_eq!(set(&clock, 21, 15_000_000), None);
        let ahead = clock.ahead(seconds(21));
        assert!((8_990..9_060).contains(&ahead.as_millis()), "{ahead:?}");
        assert_eq!(set(&clock, 111, 105_000_000), None);
        assert_eq!((at(&clock, 111), at(&clock, 112)), (105, 106), "the database has caught up");
    }

    #[test]
    fn a_step_forward_is_noticed_and_followed() {
        let clock = clock();
        assert_eq!(set(&clock, 2, 36_000_000), Some(30));
        assert_eq!(at(&clock, 3), 37);
    }

    #[test]
    fn an_answer_that_took_long_is_no_step_and_moves_nothing() {
        let clock = clock();
        let before = clock.at(seconds(20));
        // Read at its beginning, and at its end.
        for said in [6_000_000, 10_000_000] {
            assert_eq!(set_slowly(&clock, 2, said, Duration::from_secs(4)), None);
            assert_eq!(clock.at(seconds(20)), before);
        }
        assert_eq!(set(&clock, 10, 14_000_000), None);
    }

    #[test]
    fn time_is_never_behind_the_newest_event() {
        let clock = WallClock::default();
        let newest = Timestamp::from_micros(60_000_000);
        clock.set(Timestamp::from_micros(5_000_000), newest, seconds(1), seconds(1));
        assert_eq!((at(&clock, 1), at(&clock, 101)), (60, 150));
        let later = Timestamp::from_micros(200_000_000);
        clock.set(Timestamp::from_micros(105_000_000), later, seconds(101), seconds(101));
        assert_eq!(at(&clock, 102), 201);
    }

    #[test]
    fn what_is_shown_never_goes_back_whatever_the_database_says() {
        let clock = clock();
        let said = [6.0, 5.999, 6.5, 2.0, 9.0, 3.0, 40.0, 8.0];
        let mut last = clock.at(seconds(1));
        for (number, said) in (0..).zip(said) {
            let asked = seconds(2).after(Duration::from_millis(60) * number);
            #[expect(clippy::cast_possible_truncation, reason = "a few seconds")]
            let said = Timestamp::from_micros((said * 1e6) as i64);
            let answered = asked.after(Duration::from_micros(100));
            clock.set(said, Timestamp::MIN, asked, answered);
            for step in 0..599 {
                let shown = clock.at(answered.after(Duration::from_micros(100) * step));
                assert!(shown >= last, "after {number} answers");
                last = shown;
            }
        }
    }
}
