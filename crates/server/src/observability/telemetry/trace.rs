//! A span for each sampled call, as a child of the span in the caller's `traceparent`.
//!
//! The decision is made before anything is built for a span, so that a call that is not sampled costs next to nothing.
//! It follows OpenTelemetry: the standard variables `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`, and by default
//! the caller's own decision (`parentbased_always_on`).

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{SpanKind, TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample as _};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::observability::metrics::known_method;
use crate::wire::methods::Method;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Makes the spans of calls. Clones share one sampler; the default tracer makes no spans.
#[derive(Debug, Clone, Default)]
pub struct CallTracer(Option<Arc<CallSampler>>);

impl CallTracer {
    /// Makes a tracer of the calls that `sampler` selects.
    pub(super) fn new(sampler: CallSampler) -> Self {
        Self(Some(Arc::new(sampler)))
    }

    /// Returns the span of a call with these headers; a disabled one if the call is not sampled. Its name comes from
    /// `method`, never from the request: an unknown path has no span.
    #[must_use]
    pub fn span(&self, headers: &HeaderMap, method: Option<&Method>) -> Span {
        let (Some(sampler), Some(Method { service, name, .. })) = (&self.0, method) else { return Span::none() };
        let Some(parent) = sampler.sample(headers) else { return Span::none() };
        let span = tracing::info_span!(
            "grpc",
            otel.name = format!("{service}/{name}"),
            otel.kind = "server",
            rpc.system = "grpc",
            rpc.service = service,
            rpc.method = name,
        );
        // This fails only for a span that the log directives disable.
        let _ = span.set_parent(parent);
        span
    }

    /// Returns the span of an HTTP request with these headers; a disabled one if the request is not sampled. `route`
    /// is a pattern of the router, never the path of the request.
    #[must_use]
    pub(crate) fn request_span(&self, headers: &HeaderMap, method: &http::Method, route: &str) -> Span {
        let method = known_method(method);
        let Some(sampler) = &self.0 else { return Span::none() };
        let Some(parent) = sampler.sample(headers) else { return Span::none() };
        let span = tracing::info_span!(
            "http",
            otel.name = format!("{method} {route}"),
            otel.kind = "server",
            http.request.method = method,
            http.route = route,
        );
        let _ = span.set_parent(parent);
        span
    }
}

/// Decides which calls are traced.
#[derive(Debug)]
pub(super) struct CallSampler {
    sampler: Sampler,
    follows_parent: bool,
}

impl CallSampler {
    /// Parses the values of `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`. Returns `None` for an undefined value.
    pub(super) fn parse(name: &str, argument: &str) -> Option<Self> {
        let (follows_parent, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None if name.is_empty() => (true, "always_on"),
            None => (false, name),
        };
        let root = match root {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" if argument.is_empty() => Sampler::TraceIdRatioBased(1.0),
            "traceidratio" => {
                let ratio = argument.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio))?;
                Sampler::TraceIdRatioBased(ratio)
            }
            _ => return None,
        };
        let sampler = if follows_parent { Sampler::ParentBased(Box::new(root)) } else { root };
        Some(Self { sampler, follows_parent })
    }

    /// Returns the parent's context if a call with these headers is sampled.
    fn sample(&self, headers: &HeaderMap) -> Option<Context> {
        if self.follows_parent && is_unsampled(headers) {
            return None;
        }
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
        let span = parent.span();
        let trace_id = match span.span_context() {
            context if context.is_valid() => context.trace_id(),
            _ => RandomIdGenerator::default().new_trace_id(),
        };
        let sampled = self.sampler.should_sample(Some(&parent), trace_id, "", &SpanKind::Server, &[], &[]);
        (sampled.decision == SamplingDecision::RecordAndSample).then(|| parent.clone())
    }
}

/// Whether the caller's `traceparent` marks its trace as not sampled (W3C Trace Context: the lowest bit of the flags,
/// the last two hexadecimal digits of version 00). A malformed value counts as sampled and names no parent.
fn is_unsampled(headers: &HeaderMap) -> bool {
    headers.get(TRACEPARENT).is_some_and(|value| value.len() == 55 && value.as_bytes().ends_with(b"-00"))
}

/// The adapter for OpenTelemetry's propagator.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn is_sampled(sampler: &str, argument: &str, traceparent: Option<&str>) -> bool {
        let headers = traceparent.map(|value| (TRACEPARENT, value.parse().unwrap())).into_iter().collect();
        CallSampler::parse(sampler, argument).unwrap().sample(&headers).is_some()
    }

    #[test]
    fn by_default_the_caller_decides_and_a_call_without_a_trace_is_traced() {
        for default in ["", "parentbased_always_on"] {
            assert!(is_sampled(default, "", None) && is_sampled(default, "", Some(SAMPLED)));
            assert!(!is_sampled(default, "", Some(UNSAMPLED)));
            assert!(is_sampled(default, "", Some("nonsense")));
        }
    }

    #[test]
    fn the_samplers_of_the_specification_are_supported() {
        assert!(!is_sampled("always_off", "", Some(SAMPLED)) && is_sampled("always_on", "", Some(UNSAMPLED)));
        assert!(
            !is_sampled("parentbased_always_off", "", None) && is_sampled("parentbased_always_off", "", Some(SAMPLED))
        );
        for name in ["traceidratio", "parentbased_traceidratio"] {
            assert!(
                is_sampled(name, "", None) && is_sampled(name, "1", None) && !is_sampled(name, "0.0", None),
                "{name}"
            );
        }
        assert!(is_sampled("parentbased_traceidratio", "0", Some(SAMPLED)));
        for (name, argument) in [("sometimes", ""), ("traceidratio", "2"), ("traceidratio", "half")] {
            assert!(CallSampler::parse(name, argument).is_none(), "{name} {argument}");
        }
    }
}
