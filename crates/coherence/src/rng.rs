//! The random numbers of a run. Integers only, so that a seed gives the same run on every machine.

use std::cell::RefCell;

use key_authority_testkit::rng::SeededRng;
use rand::Rng as _;

use crate::scheduler::Time;

/// A probability in parts per million.
pub(crate) type Ppm = u32;

const MILLION: u64 = 1_000_000;

/// The generator of a run, which all its tasks share.
pub(crate) struct SharedRng(RefCell<SeededRng>);

impl SharedRng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(RefCell::new(SeededRng::new(seed)))
    }

    /// A number below `end`; 0 if `end` is 0.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.0.borrow_mut().below(end)
    }

    /// A number from `low` to `high`, excluding `high`.
    pub(crate) fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low))
    }

    /// True with this probability.
    pub(crate) fn happens(&self, probability: Ppm) -> bool {
        probability > 0 && self.below(MILLION) < u64::from(probability)
    }

    /// A duration from `2^low` to `2^high` nanoseconds; each power of two is equally likely.
    pub(crate) fn of_any_scale(&self, low: u32, high: u32) -> Time {
        let scale = self.between(u64::from(low), u64::from(high));
        let least = 1_u64 << scale.min(62);
        least + self.below(least)
    }

    /// A random choice; the default if there are none.
    pub(crate) fn one_of<T: Copy + Default>(&self, choices: &[T]) -> T {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        choices.get(index).copied().unwrap_or_default()
    }

    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.borrow_mut().fill_bytes(&mut bytes);
        bytes
    }
}
