//! The series `grpc_server_started_total`, `grpc_server_handled_total` and `grpc_server_handling_seconds`.
//!
//! A call is handled when its status is known and its body is complete, or when the client cancels it (`Canceled`). The
//! status comes from the response headers (a trailers-only response has nothing else) or from the trailers. Labels are
//! bounded: a path that is not in the method table is counted as `unknown`.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tonic::{Code, Status};

use super::histogram::DurationHistogram;
use super::values::Stopwatch;
use crate::wire::methods::{Method, MethodKind, MethodTable};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(clippy::struct_field_names, reason = "the fields are the labels, which go-grpc-middleware named")]
struct MethodLabels {
    grpc_service: String,
    grpc_method: String,
    grpc_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(clippy::struct_field_names, reason = "the fields are the labels, which go-grpc-middleware named")]
struct HandledLabels {
    grpc_service: String,
    grpc_method: String,
    grpc_code: &'static str,
}

/// The number of status codes of gRPC.
const CODES: usize = 17;

/// Returns the name of a code in Go, which existing dashboards use.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// The series of one method, resolved once.
#[derive(Debug)]
struct MethodSeries {
    /// `None` for unknown paths.
    method: Option<Method>,
    labels: MethodLabels,
    started: Counter,
    seconds: DurationHistogram,
    handled: Family<HandledLabels, Counter>,
    /// Resolved when a code first occurs, so that codes that never occur are no series.
    by_code: [OnceLock<Counter>; CODES],
}

impl MethodSeries {
    fn finished(&self, code: Code, stopwatch: Stopwatch) {
        self.seconds.observe(stopwatch.elapsed());
        if let Some(slot) = self.by_code.get(code as usize) {
            slot.get_or_init(|| {
                self.handled.get_or_create_owned(&HandledLabels {
                    grpc_service: self.labels.grpc_service.clone(),
                    grpc_method: self.labels.grpc_method.clone(),
                    grpc_code: code_name(code),
                })
            })
            .inc();
        }
    }
}

#[derive(Debug)]
struct Series {
    by_path: HashMap<String, Arc<MethodSeries>>,
    unknown: Arc<MethodSeries>,
}

/// The series of all methods. Clones share the series.
#[derive(Debug, Clone)]
pub struct CallMetrics(Arc<Series>);

impl CallMetrics {
    pub(super) fn new(methods: &MethodTable, registry: &mut Registry) -> Self {
        let started = Family::<MethodLabels, Counter>::default();
        registry.register("grpc_server_started", "RPCs started on the server", started.clone());
        let handled = Family::<HandledLabels, Counter>::default();
        registry.register("grpc_server_handled", "RPCs completed on the server, by status code", handled.clone());
        let seconds = Family::<MethodLabels, DurationHistogram>::default();
        registry.register(
            "grpc_server_handling_seconds",
            "Time from the request's headers to the end of the response",
            seconds.clone(),
        );
        let series = |method: Option<&Method>| {
            let unknown = || "unknown".to_owned();
            let labels = MethodLabels {
                grpc_service: method.map_or_else(unknown, |method| method.service.clone()),
                grpc_method: method.map_or_else(unknown, |method| method.name.clone()),
                grpc_type: method.map_or(MethodKind::Unary, |method| method.kind).as_str(),
            };
            Arc::new(MethodSeries {
                method: method.cloned(),
                started: started.get_or_create_owned(&labels),
                seconds: seconds.get_or_create_owned(&labels),
                handled: handled.clone(),
                by_code: std::array::from_fn(|_| OnceLock::new()),
                labels,
            })
        };
        Self(Arc::new(Series {
            by_path: methods.iter().map(|(path, method)| (path.to_owned(), series(Some(method)))).collect(),
            unknown: series(None),
        }))
    }
}

impl CallMetrics {
    /// Returns the series of the method with this path.
    #[must_use]
    pub fn series(&self, path: &str) -> CallSeries {
        CallSeries(Arc::clone(self.0.by_path.get(path).unwrap_or(&self.0.unknown)))
    }
}

/// The series of one method.
#[derive(Debug, Clone)]
pub struct CallSeries(Arc<MethodSeries>);

impl CallSeries {
    /// Returns the method; `None` for an unknown path.
    #[must_use]
    pub fn method(&self) -> Option<&Method> {
        self.0.method.as_ref()
    }

    /// Whether either side may send more than one message.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.method().is_some_and(|method| method.kind.is_streaming())
    }

    /// Counts a call that begins now and ends with the body of `inner`'s response.
    pub(crate) fn observe<F>(&self, inner: F) -> ObservedFuture<F> {
        self.0.started.inc();
        let call = ObservedCall { series: Arc::clone(&self.0), stopwatch: Stopwatch::start(), code: Code::Cancelled };
        ObservedFuture { inner, call: Some(call) }
    }
}

/// A call in progress. It ends when it is dropped, so that a call that is torn down at any point is counted too: as
/// cancelled, unless another code is known by then.
#[derive(Debug)]
struct ObservedCall {
    series: Arc<MethodSeries>,
    stopwatch: Stopwatch,
    code: Code,
}

impl ObservedCall {
    fn read_status(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get(Status::GRPC_STATUS) {
            self.code = Code::from_bytes(status.as_bytes());
        }
    }
}

impl Drop for ObservedCall {
    fn drop(&mut self) {
        // A panic of the handler drops the call without a status.
        let code = if std::thread::panicking() { Code::Internal } else { self.code };
        self.series.finished(code, self.stopwatch);
    }
}

pin_project! {
    /// A call before its response headers.
    #[derive(Debug)]
    pub struct ObservedFuture<F> {
        #[pin]
        inner: F,
        call: Option<ObservedCall>,
    }
}

impl<F, ResBody, E> Future for ObservedFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
{
    type Output = Result<Response<ObservedBody<ResBody>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(context));
        let mut call = this.call.take();
        if let (Ok(response), Some(call)) = (&result, &mut call) {
            call.read_status(response.headers());
        }
        Poll::Ready(result.map(|response| response.map(|inner| ObservedBody { inner, call })))
    }
}

pin_project! {
    /// A call between its response headers and the end of its response.
    #[derive(Debug)]
    pub struct ObservedBody<B> {
        #[pin]
        inner: B,
        call: Option<ObservedCall>,
    }
}

impl<B: Body> Body for ObservedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(trailers), Some(call)) = (frame.trailers_ref(), this.call.as_mut()) {
                    call.read_status(trailers);
                    *this.call = None;
                }
            }
            // After an end without trailers, the client never receives a status.
            Some(Err(_)) | None => {
                if let Some(mut call) = this.call.take() {
                    call.code = Code::Unknown;
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observability::metrics::{Format, Metrics};
    use futures_util::future::poll_fn;
    use std::convert::Infallible;
    use tonic::body::Body as TonicBody;

    fn metrics() -> Metrics {
        let methods = MethodTable::from_descriptor_sets([tonic_health::pb::FILE_DESCRIPTOR_SET]).unwrap();
        Metrics::new("0", &methods, &[])
    }

    /// Observes a call of `path`. The call returns `answer`, or never returns.
    async fn call(metrics: &Metrics, path: &str, answer: Option<Response<TonicBody>>) {
        let call = async move {
            match answer {
                Some(answer) => Ok::<_, Infallible>(answer),
                None => std::future::pending().await,
            }
        };
        let mut future = std::pin::pin!(metrics.calls().series(path).observe(call));
        let response = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        if let Poll::Ready(Ok(response)) = response {
            let mut body = std::pin::pin!(response.into_body());
            if !body.is_end_stream() {
                while poll_fn(|context| body.as_mut().poll_frame(context)).await.is_some() {}
            }
        }
    }

    #[tokio::test]
    async fn an_error_in_the_headers_is_counted_with_its_code() {
        let metrics = metrics();
        let refusal = Status::not_found("no").into_http();
        call(&metrics, "/grpc.health.v1.Health/Check", Some(refusal)).await;
        let text = metrics.encode(Format::OpenMetrics).unwrap();
        let labels = "grpc_service=\"grpc.health.v1.Health\",grpc_method=\"Check\"";
        assert!(text.contains(&format!("grpc_server_handled_total{{{labels},grpc_code=\"NotFound\"}} 1")), "{text}");
        assert!(text.contains(&format!("grpc_server_started_total{{{labels},grpc_type=\"unary\"}} 1")), "{text}");
        assert!(
            text.contains(&format!("grpc_server_handling_seconds_count{{{labels},grpc_type=\"unary\"}} 1")),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_dropped_call_is_canceled_and_an_unknown_path_makes_no_label() {
        let metrics = metrics();
        call(&metrics, "/made.up/Name", None).await;
        let text = metrics.encode(Format::OpenMetrics).unwrap();
        let labels = "grpc_service=\"unknown\",grpc_method=\"unknown\",grpc_code=\"Canceled\"";
        assert!(text.contains(&format!("grpc_server_handled_total{{{labels}}} 1")), "{text}");
        assert!(!text.contains("made"), "{text}");
    }

    #[tokio::test]
    async fn the_status_is_read_from_the_trailers() {
        struct Trailers(Option<HeaderMap>);
        impl Body for Trailers {
            type Data = bytes::Bytes;
            type Error = Status;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
                Poll::Ready(self.0.take().map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
        let metrics = metrics();
        let mut trailers = HeaderMap::new();
        Status::aborted("no").add_header(&mut trailers).unwrap();
        let answer = Response::new(TonicBody::new(Trailers(Some(trailers))));
        call(&metrics, "/grpc.health.v1.Health/Watch", Some(answer)).await;
        let text = metrics.encode(Format::OpenMetrics).unwrap();
        let labels = "grpc_service=\"grpc.health.v1.Health\",grpc_method=\"Watch\"";
        assert!(text.contains(&format!("grpc_server_handled_total{{{labels},grpc_code=\"Aborted\"}} 1")), "{text}");
        assert_eq!(text.matches("grpc_server_handled_total").count(), 1, "{text}");
    }
}
