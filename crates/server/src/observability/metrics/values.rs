//! The building blocks of series.

use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

/// A gauge of seconds with fractions.
pub(super) type SecondsGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Sets a counter to a count that is kept elsewhere and only grows.
pub(super) fn set(counter: &Counter, count: u64) {
    counter.inner().store(count, std::sync::atomic::Ordering::Relaxed);
}

/// Measures a duration for a metric or a log line. Never use it for a decision: the replica's clock decides expiry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts the measurement.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where a duration for a metric is measured")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the time since the start.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where a duration for a metric is measured")]
    pub(super) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The label of series by reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabel {
    pub(super) reason: &'static str,
}
