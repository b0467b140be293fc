//! The series `http_server_request_duration_seconds` of the HTTP door, as OpenTelemetry names it.
//!
//! Labels are bounded: a route is a pattern of the router, and an uncommon method counts as `_OTHER`.

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::histogram::DurationHistogram;
use super::values::Stopwatch;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(clippy::struct_field_names, reason = "the fields are the labels, which OpenTelemetry named")]
struct RequestLabels {
    http_route: String,
    http_request_method: &'static str,
    http_response_status_code: u16,
}

/// The status that counts for a request whose client went away before the response.
const CLIENT_CLOSED: u16 = 499;

/// The series of HTTP requests. Clones share the series.
#[derive(Debug, Clone)]
pub(crate) struct RequestMetrics(Family<RequestLabels, DurationHistogram>);

impl RequestMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let seconds = Family::<RequestLabels, DurationHistogram>::default();
        registry.register(
            "http_server_request_duration_seconds",
            "Time from the head of a request to its response, by route of the HTTP door",
            seconds.clone(),
        );
        Self(seconds)
    }

    /// Begins a request. `route` must be a pattern of the router, and never a path.
    pub(crate) fn begin(&self, route: &str, method: &Method) -> ObservedRequest {
        let labels = RequestLabels {
            http_route: route.to_owned(),
            http_request_method: known_method(method),
            http_response_status_code: CLIENT_CLOSED,
        };
        ObservedRequest { seconds: self.0.clone(), labels, stopwatch: Stopwatch::start() }
    }
}

/// A request in progress. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct ObservedRequest {
    seconds: Family<RequestLabels, DurationHistogram>,
    labels: RequestLabels,
    stopwatch: Stopwatch,
}

impl ObservedRequest {
    /// Sets the status of the response.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.labels.http_response_status_code = status.as_u16();
    }
}

impl Drop for ObservedRequest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.labels.http_response_status_code = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
        }
        self.seconds.get_or_create_owned(&self.labels).observe(self.stopwatch.elapsed());
    }
}

/// The methods of RFC 9110 and PATCH; a client can invent any other.
pub(crate) fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_methods_and_lost_clients_are_counted_under_known_labels() {
        let mut registry = Registry::default();
        let metrics = RequestMetrics::register(&mut registry);
        metrics.begin("/introspect", &Method::POST).answered(StatusCode::OK);
        drop(metrics.begin("unknown", &Method::from_bytes(b"SPY").unwrap()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let count = |route, method, status| {
            format!(
                "http_server_request_duration_seconds_count{{http_route=\"{route}\",\
                 http_request_method=\"{method}\",http_response_status_code=\"{status}\"}} 1"
            )
        };
        for line in [count("/introspect", "POST", 200), count("unknown", "_OTHER", 499)] {
            assert!(text.contains(&line), "{line} not in\n{text}");
        }
    }
}
