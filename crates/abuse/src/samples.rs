//! Latencies and failures of those who behave.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Verify of the good client.
    Verify,
    /// A new connection with one Verify.
    Newcomer,
    /// `/livez`
    Livez,
    /// `/readyz`
    Readyz,
    /// `RevokeKey` by root.
    Revoke,
}

/// When it was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Before the attack.
    Quiet,
    /// During the attack.
    Attack,
    /// After the attack, while memory may fall again.
    After,
    /// The observation has ended.
    Over,
}

/// The calls of one kind in one phase.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series {
    latencies: Vec<Duration>,
    /// What failed, with counts.
    pub(crate) failures: BTreeMap<String, u64>,
}

/// All calls.
#[derive(Debug)]
pub(crate) struct Samples {
    phase: Mutex<Phase>,
    series: Mutex<BTreeMap<(Kind, Phase), Series>>,
}

impl Samples {
    pub(crate) fn new() -> Self {
        Self { phase: Mutex::new(Phase::Quiet), series: Mutex::default() }
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// Records a call that began in `phase`. A failed call counts with its latency, too.
    pub(crate) fn record(&self, kind: Kind, phase: Phase, latency: Duration, outcome: Result<(), String>) {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let series = all.entry((kind, phase)).or_default();
        series.latencies.push(latency);
        if let Err(failure) = outcome {
            *series.failures.entry(failure).or_default() += 1;
        }
    }

    pub(crate) fn of(&self, kind: Kind, phase: Phase) -> Series {
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(kind, phase)).cloned().unwrap_or_default()
    }
}

impl Series {
    /// The latency in milliseconds that this share of the calls does not exceed; 0 without calls.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a list of some thousand calls"
        )]
        let place = (sorted.len() as f64 * quantile).ceil() as usize;
        sorted.get(place.saturating_sub(1)).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.quantile_ms(1.0)
    }

    pub(crate) fn calls(&self) -> usize {
        self.latencies.len()
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_latencies_that_were_measured() {
        let series = Series { latencies: (1..=200).map(Duration::from_millis).collect(), failures: BTreeMap::new() };
        assert!((series.quantile_ms(0.99) - 198.0).abs() < 1e-9);
        assert!((series.max_ms() - 200.0).abs() < 1e-9);
        assert!(Series::default().max_ms().abs() < 1e-9);
    }
}
