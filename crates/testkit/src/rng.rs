//! Random numbers from a seed. The same seed gives the same numbers on every machine.

use std::convert::Infallible;
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, RngExt as _, SeedableRng as _, TryRng};

/// A seeded generator. It implements [`rand::Rng`], so the sampling methods of rand work on it.
#[derive(Debug, Clone)]
pub struct SeededRng(Xoshiro256PlusPlus);

impl SeededRng {
    /// The generator of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// One of many independent generators of one seed.
    #[must_use]
    pub fn stream(seed: u64, number: u64) -> Self {
        Self::new(seed ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    /// A new seed, below one billion so that it is easy to type.
    #[expect(clippy::disallowed_methods, reason = "this file owns the randomness of the test tools")]
    #[must_use]
    pub fn random_seed() -> u64 {
        rand::random_range(0..1_000_000_000)
    }

    /// An independent generator. What it draws does not depend on what this one draws later.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }

    /// A number below `bound`; 0 if `bound` is 0. Integer arithmetic only, so that a recorded seed keeps its meaning.
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A duration between two others, uniform on a logarithmic scale. `from` must not be zero.
    pub fn magnitude(&mut self, from: Duration, to: Duration) -> Duration {
        let ratio = to.max(from).as_secs_f64() / from.as_secs_f64();
        from.mul_f64(ratio.powf(self.random_range(0.0..=1.0)))
    }

    /// A random name: 16 hexadecimal digits.
    pub fn name(&mut self) -> String {
        format!("{:016x}", self.next_u64())
    }
}

impl TryRng for SeededRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_seed_keeps_its_meaning() {
        let mut rng = SeededRng::new(1);
        assert_eq!([rng.below(1_000), rng.below(1_000), rng.below(1_000)], [811, 747, 100]);
        assert_ne!(SeededRng::stream(1, 2).name(), SeededRng::stream(1, 3).name());
    }

    #[test]
    fn a_magnitude_lies_between_its_bounds() {
        let (from, to) = (Duration::from_millis(1), Duration::from_secs(10));
        let mut rng = SeededRng::new(1);
        assert!((0..1_000).map(|_| rng.magnitude(from, to)).all(|time| (from..=to).contains(&time)));
    }
}
