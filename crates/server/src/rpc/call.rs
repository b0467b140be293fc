//! The parts that all calls have in common: a deadline, metrics, and a span if the call is traced.

use http::Request;
use tracing::Instrument as _;
use tracing::instrument::Instrumented;

use super::deadline::{CallDeadlines, Deadline, DeadlineBody, DeadlineFuture, Deadlines};
use crate::observability::metrics::{CallMetrics, CallSeries, ObservedBody, ObservedFuture};
use crate::observability::telemetry::CallTracer;

/// A call until its response begins.
pub(crate) type CallFuture<F> = ObservedFuture<DeadlineFuture<Instrumented<F>>>;
/// The response of a call until it ends.
pub(crate) type CallBody<B> = ObservedBody<DeadlineBody<B>>;

/// How calls are bounded and observed. Clones share one policy.
#[derive(Debug, Clone)]
pub struct CallPolicy {
    metrics: CallMetrics,
    deadlines: Deadlines,
    tracer: CallTracer,
}

impl CallPolicy {
    /// Makes a policy that counts calls in `metrics`, bounds them by `deadlines`, and traces those that `tracer`
    /// samples.
    #[must_use]
    pub fn new(metrics: CallMetrics, deadlines: Deadlines, tracer: CallTracer) -> Self {
        Self { metrics, deadlines, tracer }
    }

    /// Begins the call of `request`.
    #[must_use]
    pub fn begin<B>(&self, request: &Request<B>) -> StartedCall {
        let (headers, path) = (request.headers(), request.uri().path());
        let series = self.metrics.series(path);
        // An unknown path is rejected at once; as a unary call it is bounded in any case.
        let deadlines = self.deadlines.of(headers, series.is_streaming());
        let span = self.tracer.span(headers, series.method());
        StartedCall { series, deadlines, span }
    }
}

/// A call that has begun.
#[derive(Debug)]
pub struct StartedCall {
    series: CallSeries,
    deadlines: CallDeadlines,
    span: tracing::Span,
}

impl StartedCall {
    /// Returns the metrics of the method.
    pub fn series(&self) -> &CallSeries {
        &self.series
    }

    /// Returns the caller's deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.deadlines.call
    }

    /// Runs `call`, bounded and observed.
    pub fn run<F>(self, call: F) -> CallFuture<F> {
        self.series.observe(DeadlineFuture::new(call.instrument(self.span), self.deadlines))
    }
}
