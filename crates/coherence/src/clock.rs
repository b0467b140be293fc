//! The boot clock of a simulated machine: it is strictly monotonic, but its rate differs from true time and changes.

use key_authority_replica::clock::Boottime;

use crate::profile::Rates;
use crate::rng::SharedRng;
use crate::scheduler::{SECOND, Time};

const MILLION: u64 = 1_000_000;

/// A period of true time with a constant clock rate.
#[derive(Debug, Clone, Copy)]
struct Segment {
    from: Time,
    reading: u64,
    /// Nanoseconds of the clock per million nanoseconds of true time.
    rate: u64,
}

/// A clock whose rates are drawn in advance, so that the true time of a timer is known.
#[derive(Debug)]
pub(crate) struct Clock(Vec<Segment>);

impl Clock {
    /// Draws a clock for a run until `end`. A frail host gets the slowest extreme rate more often, since a late host
    /// with a slow clock is the most dangerous.
    pub(crate) fn draw(rng: &SharedRng, rates: Rates, is_frail: bool, end: Time) -> Self {
        let mut clock = Self(Vec::new());
        let mut from = 0;
        // A machine may have been up for months.
        let mut reading = SECOND + rng.of_any_scale(20, 54);
        loop {
            let rate = if rng.happens(rates.extreme) {
                if rng.happens(100_000) == is_frail { rates.fastest } else { rates.slowest }
            } else {
                rng.between(rates.slowest, rates.fastest + 1)
            };
            clock.0.push(Segment { from, reading, rate });
            if from >= end {
                return clock;
            }
            let lasts = if rates.is_steady { end } else { rng.between(SECOND, 30 * SECOND) };
            (from, reading) = (from + lasts, reading + lasts * rate / MILLION);
        }
    }

    /// Its reading at `now`.
    pub(crate) fn at(&self, now: Time) -> Boottime {
        let segment = self.0.iter().rev().find(|segment| segment.from <= now);
        Boottime(segment.map_or(0, |segment| segment.reading + (now - segment.from) * segment.rate / MILLION))
    }

    /// The first instant with this reading or a later one.
    pub(crate) fn when(&self, reading: Boottime) -> Time {
        let segment = self.0.iter().rev().find(|segment| segment.reading < reading.0);
        segment.map_or(0, |segment| {
            segment.from + ((reading.0 - segment.reading).saturating_mul(MILLION)).div_ceil(segment.rate)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_fires_at_its_reading_and_not_before() {
        let rng = SharedRng::new(1);
        for _ in 0..200 {
            let rates = Rates { slowest: 890_000, fastest: 1_110_000, extreme: 300_000, is_steady: false };
            let clock = Clock::draw(&rng, rates, true, 100 * SECOND);
            let now = rng.below(90 * SECOND);
            let target = Boottime(clock.at(now).0 + 1 + rng.below(10 * SECOND));
            let at = clock.when(target);
            assert!(at > now && clock.at(at) >= target && clock.at(at - 2) < target);
        }
    }
}
