//! A span for each call, child of the span that the caller's `traceparent` names.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tower::{Layer, Service};
use tracing::instrument::Instrumented;
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::wire::methods::{Method, MethodTable};

/// Puts each call into a span. Without an exporter it only passes calls on.
#[derive(Debug, Clone)]
pub struct TraceLayer {
    methods: Option<Arc<MethodTable>>,
}

impl TraceLayer {
    /// A layer that makes spans when `is_tracing`. Span names come from `methods`, never from what a caller made up.
    #[must_use]
    pub fn new(is_tracing: bool, methods: Arc<MethodTable>) -> Self {
        Self { methods: is_tracing.then_some(methods) }
    }

    fn span<B>(&self, request: &Request<B>) -> Span {
        let Some(method) = self.methods.as_ref().and_then(|methods| methods.get(request.uri().path())) else {
            return Span::none();
        };
        let Method { service, name, .. } = method;
        let span = tracing::info_span!(
            "grpc",
            otel.name = format!("{service}/{name}"),
            otel.kind = "server",
            rpc.system = "grpc",
            rpc.service = service,
            rpc.method = name,
        );
        let parent = TraceContextPropagator::new().extract(&Headers(request.headers()));
        // It fails only for a span that is switched off, and then there is no child to place.
        let _ = span.set_parent(parent);
        span
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = TraceService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TraceService { inner, layer: self.clone() }
    }
}

/// A service whose calls run in spans; made by [`TraceLayer`].
#[derive(Debug, Clone)]
pub struct TraceService<S> {
    inner: S,
    layer: TraceLayer,
}

impl<S, B> Service<Request<B>> for TraceService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Instrumented<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let span = self.layer.span(&request);
        self.inner.call(request).instrument(span)
    }
}

/// Metadata, as OpenTelemetry reads it.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
