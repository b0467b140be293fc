//! The one source of chance of a run. Whole numbers only, so that a seed means the same on every machine.

use std::cell::RefCell;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use crate::scheduler::Time;

/// How likely something is, in parts of a million.
pub(crate) type Ppm = u32;

const MILLION: u64 = 1_000_000;

/// Draws from the seed.
pub(crate) struct Chance(RefCell<Xoshiro256PlusPlus>);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(RefCell::new(Xoshiro256PlusPlus::seed_from_u64(seed)))
    }

    pub(crate) fn next(&self) -> u64 {
        self.0.borrow_mut().next_u64()
    }

    /// A number from 0 to `end`, `end` excluded; 0 when there is none.
    pub(crate) fn below(&self, end: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(end);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A number from `low` to `high`, `high` excluded.
    pub(crate) fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low))
    }

    /// Whether something that is so likely happens.
    pub(crate) fn happens(&self, likely: Ppm) -> bool {
        likely > 0 && self.below(MILLION) < u64::from(likely)
    }

    /// A duration of which each order of magnitude is as likely as any other: `2^low` to `2^high` nanoseconds.
    pub(crate) fn of_any_scale(&self, low: u32, high: u32) -> Time {
        let scale = self.between(u64::from(low), u64::from(high));
        let least = 1_u64 << scale.min(62);
        least + self.below(least)
    }

    /// One of some. There must be some; the default stands in for none.
    pub(crate) fn one_of<T: Copy + Default>(&self, choices: &[T]) -> T {
        let at = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        choices.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.borrow_mut().fill_bytes(&mut bytes);
        bytes
    }
}
