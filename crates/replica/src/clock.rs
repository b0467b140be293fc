//! The boot clock and the authority's clock.
//!
//! The boot clock measures leases and waits. Unlike `Instant`, it advances while the machine is suspended. The time of
//! day comes from the database; see [`AuthorityClock`].

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use key_authority_domain::time::Timestamp;

/// An instant of the boot clock, in nanoseconds since the machine started. 0 is earlier than every reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Boottime(pub u64);

impl Boottime {
    /// Returns the instant `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Returns the instant `duration` earlier.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Returns the time from `earlier` to this instant; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Reads the boot clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this file owns the clock")]
pub fn boottime() -> Boottime {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Boottime(seconds * 1_000_000_000 + nanos)
}

/// How far, beyond all uncertainty, the database's clock must be from its expected value to count as a step.
const STEP_US: i64 = 1_000_000;
/// While the authority's time is ahead of the database's clock, it advances by 9 s in every 10 s.
const SLOW_RATE: (i64, i64) = (9, 10);
/// The assumed drift between two clocks: 1 ms in 1 s.
const DRIFT: i64 = 1_000;
/// The delay between making an estimate and using it. The estimate is published at once; the delay covers a thread that
/// is descheduled between the two.
const LEAD: Duration = Duration::from_millis(50);

/// The authority's time, which decides expiry.
///
/// It is the database's clock, extrapolated by the boot clock from one heartbeat to the next. The wall clock of this
/// machine is never read, so all replicas use the same clock.
///
/// The time never goes back: what has expired stays expired when the database's clock steps back. Until the database's
/// clock has caught up, the time advances at nine tenths of its rate. A step forward is followed at once.
///
/// The time is also raised to that of the newest event of the log, with a delay. This matters only for a replica that
/// started after a step back: the other replicas have the time of the one that made the event. A timeline:
///
/// - t0: a reading of the log brings the event. An estimate that includes it is published, for use from t0 + `LEAD` on.
/// - t1, before t0 + `LEAD`: a reading brings a later event. The estimate of t0 is not in use yet, and is not replaced.
/// - t2, after t0 + `LEAD`: the next reading brings the later event again. Its estimate is used from t2 + `LEAD` on.
///
/// So the time is behind an event for at most twice `LEAD` and the pause between two readings, which is at most 50 ms
/// while the database answers: 150 ms. The first estimate is used at once, so a replica that starts is not behind the
/// events that it has loaded.
///
/// The time is a function of the boot clock's instant alone, because an estimate takes effect only at an instant after
/// its publication. Two readers therefore never disagree on the order of what they see, as long as each reads the boot
/// clock first.
#[derive(Debug, Default)]
pub struct AuthorityClock {
    estimates: ArcSwap<Estimates>,
}

/// The estimate in use until `from`, and the estimate in use after it.
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
    made_at: Boottime,
    /// The database's clock minus the boot clock, in microseconds.
    offset_us: i64,
    /// The largest error of `offset_us`, in either direction.
    error_us: i64,
    /// The authority's time at `from`, from which it continues while it is ahead of the database's clock.
    floor_us: i64,
    from: Boottime,
}

impl Default for Estimate {
    fn default() -> Self {
        Self { made_at: Boottime(0), offset_us: 0, error_us: 0, floor_us: i64::MIN, from: Boottime(0) }
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

/// A step of the database's clock, as [`AuthorityClock::set`] detected it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStep {
    /// The size of the step in microseconds; negative for a step back.
    pub by_us: i64,
}

impl AuthorityClock {
    /// Updates the estimate from one answer of the database, and returns the step of the clock since the last call, if
    /// any.
    ///
    /// `reading` is the database's clock at some instant between `sent` and `received`; `newest` is the time of the
    /// newest event of the log. Only one task may call this.
    ///
    /// A slow answer says little about when the clock was read. It does not replace an estimate that it does not
    /// contradict.
    pub fn set(&self, reading: Timestamp, newest: Timestamp, sent: Boottime, received: Boottime) -> Option<ClockStep> {
        let estimates = **self.estimates.load();
        if received < estimates.from {
            // The last estimate is not in use yet, and replacing it could make the time go back. The next reading of
            // the log, at most 50 ms later, brings the same newest event again.
            return None;
        }
        let last = estimates.after;
        let error_us = micros(Boottime(received.0.saturating_sub(sent.0))) / 2 + 1;
        let offset_us = reading.micros().saturating_sub(micros(sent)).saturating_sub(error_us);
        let is_first = last.made_at == Boottime(0);
        let drifted_us =
            last.error_us.saturating_add(micros(Boottime(received.0.saturating_sub(last.made_at.0))) / DRIFT);
        let apart_us = offset_us.saturating_sub(last.offset_us);
        let contradiction_us = apart_us.saturating_abs().saturating_sub(error_us).saturating_sub(drifted_us);
        let is_kept = !is_first && contradiction_us <= 0 && error_us >= drifted_us;
        let (offset_us, error_us) = if is_kept { (last.offset_us, drifted_us) } else { (offset_us, error_us) };
        if is_kept && newest.micros() <= last.at(received) {
            return None;
        }
        let from = if is_first { Boottime(0) } else { received.after(LEAD) };
        let floor_us = if is_first { newest.micros() } else { last.at(from).max(newest.micros()) };
        let floor_from = if is_first { received } else { from };
        let after = Estimate { made_at: received, offset_us, error_us, floor_us, from: floor_from };
        self.estimates.store(Arc::new(Estimates { before: last, after, from }));
        (!is_first && contradiction_us > STEP_US).then_some(ClockStep { by_us: apart_us })
    }

    /// Returns the authority's time at `now`.
    #[must_use]
    pub fn at(&self, now: Boottime) -> Timestamp {
        Timestamp::from_micros(self.estimates.load().in_use(now).at(now))
    }

    /// Returns how far the authority's time is ahead of the database's clock at `now`.
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

    /// A clock that was set at second 1, to second 5 of the database's clock.
    fn clock() -> AuthorityClock {
        let clock = AuthorityClock::default();
        assert_eq!(set(&clock, 1, 5_000_000), None, "the first reading is no step");
        clock
    }

    fn seconds(boottime: u64) -> Boottime {
        Boottime(boottime * 1_000_000_000)
    }

    /// Sets the clock from an answer that took a millisecond.
    fn set(clock: &AuthorityClock, boottime: u64, reading_us: i64) -> Option<i64> {
        set_slowly(clock, boottime, reading_us, Duration::from_millis(1))
    }

    fn set_slowly(clock: &AuthorityClock, boottime: u64, reading_us: i64, took: Duration) -> Option<i64> {
        let (sent, received) = (seconds(boottime), seconds(boottime).after(took));
        let step = clock.set(Timestamp::from_micros(reading_us), Timestamp::MIN, sent, received);
        step.map(|ClockStep { by_us }| by_us / 1_000_000)
    }

    /// The time in whole seconds, rounded.
    fn at(clock: &AuthorityClock, boottime: u64) -> i64 {
        (clock.at(seconds(boottime)).micros() + 500_000) / 1_000_000
    }

    #[test]
    fn the_database_clock_is_extrapolated() {
        let clock = clock();
        assert_eq!((at(&clock, 2), at(&clock, 11)), (6, 15));
    }

    #[test]
    fn a_step_back_is_detected_once_and_time_advances_slowly() {
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
    fn a_step_forward_is_detected_and_followed() {
        let clock = clock();
        assert_eq!(set(&clock, 2, 36_000_000), Some(30));
        assert_eq!(at(&clock, 3), 37);
    }

    #[test]
    fn a_slow_answer_is_no_step_and_changes_nothing() {
        let clock = clock();
        let before = clock.at(seconds(20));
        // The database's clock was read at the beginning of the round trip, and at its end.
        for reading in [6_000_000, 10_000_000] {
            assert_eq!(set_slowly(&clock, 2, reading, Duration::from_secs(4)), None);
            assert_eq!(clock.at(seconds(20)), before);
        }
        assert_eq!(set(&clock, 10, 14_000_000), None);
    }

    #[test]
    fn time_is_never_behind_the_newest_event() {
        let clock = AuthorityClock::default();
        let newest = Timestamp::from_micros(60_000_000);
        clock.set(Timestamp::from_micros(5_000_000), newest, seconds(1), seconds(1));
        assert_eq!((at(&clock, 1), at(&clock, 101)), (60, 150));
        let later = Timestamp::from_micros(200_000_000);
        clock.set(Timestamp::from_micros(105_000_000), later, seconds(101), seconds(101));
        assert_eq!(at(&clock, 102), 201);
    }

    #[test]
    fn time_is_behind_an_event_for_at_most_two_leads_and_a_pause() {
        let clock = clock();
        let pause = Duration::from_millis(50);
        let [first, later] = [60, 90].map(|second| Timestamp::from_micros(second * 1_000_000));
        let read = |newest, at: Boottime| {
            let reading = Timestamp::from_micros(micros(at) + 4_000_000);
            assert_eq!(clock.set(reading, newest, at, at), None);
        };
        let begin = seconds(2);
        read(first, begin);
        // The later event arrives just before the first estimate is used, and is read again after a pause.
        let arrived = begin.after(LEAD).before(Duration::from_nanos(1));
        read(later, arrived);
        assert!(clock.at(begin.after(LEAD)) >= first);
        read(later, arrived.after(pause));
        assert!(clock.at(arrived.after(pause)) < later);
        assert!(clock.at(arrived.after(pause + LEAD)) >= later);
        assert!(pause + 2 * LEAD <= Duration::from_millis(150));
    }

    #[test]
    fn the_time_never_goes_back() {
        let clock = clock();
        let readings = [6.0, 5.999, 6.5, 2.0, 9.0, 3.0, 40.0, 8.0];
        let mut last = clock.at(seconds(1));
        for (number, reading) in (0..).zip(readings) {
            let sent = seconds(2).after(Duration::from_millis(60) * number);
            #[expect(clippy::cast_possible_truncation, reason = "a few seconds")]
            let reading = Timestamp::from_micros((reading * 1e6) as i64);
            let received = sent.after(Duration::from_micros(100));
            clock.set(reading, Timestamp::MIN, sent, received);
            for step in 0..599 {
                let shown = clock.at(received.after(Duration::from_micros(100) * step));
                assert!(shown >= last, "after {number} answers");
                last = shown;
            }
        }
    }
}
