//! Entropy: the only file of the server that reads random bytes from the operating system.
//!
//! Everything that must not be guessable comes from [`fill`] or [`bytes()`], straight from the kernel, with no
//! generator in between. A kernel that cannot answer is an error for the caller to report, never a panic and never a
//! weaker source. [`jitter`] spreads timers; it is the only function of this file that continues without randomness,
//! because no secret depends on it.

#![expect(clippy::disallowed_types, reason = "the one file of the server that may ask for random bytes")]

use std::time::Duration;

use rand::TryRng as _;
use rand::rngs::{SysError, SysRng};

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct EntropyError(#[source] SysError);

/// Fills `buffer` with random bytes of the operating system.
///
/// # Errors
/// `EntropyError` when the operating system refuses; then the content of `buffer` is unspecified and must not be
/// used.
pub fn fill(buffer: &mut [u8]) -> Result<(), EntropyError> {
    SysRng.try_fill_bytes(buffer).map_err(EntropyError)
}

/// Returns `N` random bytes of the operating system.
///
/// # Errors
/// `EntropyError` when the operating system refuses.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], EntropyError> {
    let mut buffer = [0; N];
    fill(&mut buffer)?;
    Ok(buffer)
}

/// Returns `base` changed by a random share of up to ± `fraction` (0.0 to 1.0), so that timers started together do not
/// end together.
///
/// Without entropy it returns `base`: timers that end together are inconvenient, not dangerous.
#[must_use]
pub(crate) fn jitter(base: Duration, fraction: f64) -> Duration {
    let Ok(raw) = bytes::<4>() else { return base };
    let unit = f64::from(u32::from_ne_bytes(raw)) / f64::from(u32::MAX);
    let factor = fraction.clamp(0.0, 1.0).mul_add(unit.mul_add(2.0, -1.0), 1.0);
    Duration::try_from_secs_f64(base.as_secs_f64() * factor).unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(bytes::<32>().unwrap(), bytes::<32>().unwrap());
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let base = Duration::from_secs(1000);
        for _ in 0..1000 {
            let jittered = jitter(base, 0.1);
            assert!((900..=1100).contains(&jittered.as_secs()), "{jittered:?}");
        }
        assert_eq!(jitter(base, 0.0), base);
    }
}
