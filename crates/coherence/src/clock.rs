//! A machine's boot clock: it never goes back and never stands still, but it runs at a rate of its own, which changes.

use key_authority_replica::clock::Boottime;

use crate::chance::Chance;
use crate::profile::Rates;
use crate::scheduler::{SECOND, Time};

const MILLION: u64 = 1_000_000;

/// A stretch of true time over which the clock keeps its rate.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: Time,
    reading: u64,
    /// Nanoseconds of the clock in a million of true ones.
    rate: u64,
}

/// A clock whose whole course is drawn beforehand, so that a timer can be told when it will go off.
#[derive(Debug)]
pub(crate) struct Clock(Vec<Stretch>);

impl Clock {
    /// A clock for a run that takes until `end`. Of the extreme rates, a frail host has more often the slowest: it hurts most
    /// that the one who is late thinks that it is not.
    pub(crate) fn draw(chance: &Chance, rates: Rates, is_frail: bool, end: Time) -> Self {
        let mut clock = Self(Vec::new());
        let mut from = 0;
        // Where a clock starts says nothing: it may have been running for months.
        let mut reading = SECOND + chance.of_any_scale(20, 54);
        loop {
            let rate = if chance.happens(rates.extreme) {
                if chance.happens(100_000) == is_frail { rates.fastest } else { rates.slowest }
            } else {
                chance.between(rates.slowest, rates.fastest + 1)
            };
            clock.0.push(Stretch { from, reading, rate });
            if from >= end {
                return clock;
            }
            let lasts = if rates.is_steady { end } else { chance.between(SECOND, 30 * SECOND) };
            (from, reading) = (from + lasts, reading + lasts * rate / MILLION);
        }
    }

    /// What it shows at `now`.
    pub(crate) fn at(&self, now: Time) -> Boottime {
        let stretch = self.0.iter().rev().find(|stretch| stretch.from <= now);
        Boottime(stretch.map_or(0, |stretch| stretch.reading + (now - stretch.from) * stretch.rate / MILLION))
    }

    /// The first instant at which it shows `reading` or more.
    pub(crate) fn when(&self, reading: Boottime) -> Time {
        let stretch = self.0.iter().rev().find(|stretch| stretch.reading < reading.0);
        stretch.map_or(0, |stretch| {
            stretch.from + ((reading.0 - stretch.reading).saturating_mul(MILLION)).div_ceil(stretch.rate)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_goes_off_when_the_clock_shows_its_time_and_not_before() {
        let chance = Chance::new(1);
        for _ in 0..200 {
            let rates = Rates { slowest: 890_000, fastest: 1_110_000, extreme: 300_000, is_steady: false };
            let clock = Clock::draw(&chance, rates, true, 100 * SECOND);
            let now = chance.below(90 * SECOND);
            let target = Boottime(clock.at(now).0 + 1 + chance.below(10 * SECOND));
            let at = clock.when(target);
            assert!(at > now && clock.at(at) >= target && clock.at(at - 2) < target);
        }
    }
}
