//! A histogram of durations without locks.
//!
//! The histogram of prometheus-client takes a write lock for each observation; on Verify, every core would wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds in nanoseconds: from 50 µs, a typical Verify, to 10 s, after every deadline.
const BOUNDS_NS: [u64; 16] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
];

#[derive(Debug, Default)]
struct Counts {
    buckets: [AtomicU64; BOUNDS_NS.len()],
    above: AtomicU64,
    sum_ns: AtomicU64,
}

/// A histogram of durations. Clones share their counts.
#[derive(Debug, Clone, Default)]
pub(super) struct DurationHistogram(Arc<Counts>);

impl DurationHistogram {
    pub(super) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let index = BOUNDS_NS.partition_point(|bound| *bound < nanos);
        self.0.buckets.get(index).unwrap_or(&self.0.above).fetch_add(1, Ordering::Relaxed);
        // Wraps after 584 years of calls.
        self.0.sum_ns.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl TypedMetric for DurationHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for DurationHistogram {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        // The count is the sum of the buckets that were read, so that both always agree.
        let mut buckets: Vec<(f64, u64)> = BOUNDS_NS
            .iter()
            .zip(&self.0.buckets)
            .map(|(bound, count)| (Duration::from_nanos(*bound).as_secs_f64(), count.load(Ordering::Relaxed)))
            .collect();
        buckets.push((f64::MAX, self.0.above.load(Ordering::Relaxed)));
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.0.sum_ns.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::Registry;

    #[test]
    fn a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let histogram = DurationHistogram::default();
        for micros in [50, 51, 20_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut registry = Registry::default();
        registry.register("t_seconds", "t", histogram);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "t_seconds_bucket{le=\"0.00005\"} 1",
            "t_seconds_bucket{le=\"0.0001\"} 2",
            "t_seconds_bucket{le=\"10.0\"} 2",
            "t_seconds_bucket{le=\"+Inf\"} 3",
            "t_seconds_count 3",
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }
}
