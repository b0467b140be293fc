//! Distributions of times.

use hdrhistogram::Histogram;
use serde::Serialize;

/// A histogram of microseconds: up to ten minutes, with three significant digits.
pub(crate) fn histogram() -> Histogram<u64> {
    // Longer times count as ten minutes.
    Histogram::new_with_bounds(1, 600_000_000, 3).unwrap_or_else(|_| unreachable!("the bounds are valid"))
}

/// A distribution of times in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Times {
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Times {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| milliseconds(histogram.value_at_quantile(quantile));
        let max_ms = milliseconds(histogram.max());
        Self { count: histogram.len(), p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), max_ms }
    }

    /// The cells of a table: count, p50, p90, p99, max.
    pub(crate) fn cells(&self) -> String {
        let Self { count, p50_ms, p90_ms, p99_ms, max_ms } = self;
        format!("{count} | {p50_ms:.1} | {p90_ms:.1} | {p99_ms:.1} | {max_ms:.1}")
    }
}

fn milliseconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64() * 1e3
}
