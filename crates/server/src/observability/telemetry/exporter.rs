//! The exporter of spans, which logs when the collector does not take them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use key_authority_replica::clock::{Boottime, boottime};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Handle;

use super::environment::TraceProtocol;

/// The shortest time between two log lines about failed exports, which may fail many times a second.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// Exports over OTLP, within the runtime: the thread that collects batches has none, and HTTP needs one.
#[derive(Debug)]
pub(super) struct LoggingExporter {
    otlp: Arc<OtlpExporter>,
    runtime: Handle,
    failures: Mutex<Failures>,
}

impl LoggingExporter {
    /// Makes an exporter from the standard variables. Call it within the runtime.
    ///
    /// # Errors
    /// When a variable has a value that the exporter cannot use.
    pub(super) fn new(protocol: TraceProtocol) -> Result<Self, ExporterBuildError> {
        let otlp = match protocol {
            TraceProtocol::Grpc => OtlpExporter::builder().with_tonic().build()?,
            TraceProtocol::HttpProtobuf => {
                OtlpExporter::builder().with_http().with_protocol(Protocol::HttpBinary).build()?
            }
        };
        Ok(Self { otlp: Arc::new(otlp), runtime: Handle::current(), failures: Mutex::default() })
    }

    fn log(&self, result: &OTelSdkResult, spans: u64) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => {
                if failures.recovered() {
                    tracing::info!("the collector takes spans again");
                }
            }
            Err(error) => {
                if let Some(lost) = failures.record(spans, boottime()) {
                    tracing::warn!(%error, lost, "cannot export spans; they are lost");
                }
            }
        }
    }
}

impl SpanExporter for LoggingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (otlp, spans) = (Arc::clone(&self.otlp), batch.len() as u64);
        let exported = self.runtime.spawn(async move { otlp.export(batch).await }).await;
        let result = exported.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())));
        self.log(&result, spans);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.otlp.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        // It is set before the first export; until then, there is one owner.
        if let Some(otlp) = Arc::get_mut(&mut self.otlp) {
            otlp.set_resource(resource);
        }
    }
}

/// The spans lost since the last log line.
#[derive(Debug, Default)]
struct Failures {
    lost: u64,
    logged_at: Option<Boottime>,
}

impl Failures {
    /// Counts lost spans, and returns their number since the last line if another line is due.
    fn record(&mut self, spans: u64, now: Boottime) -> Option<u64> {
        self.lost += spans;
        if self.logged_at.is_some_and(|logged_at| now.since(logged_at) < LOG_INTERVAL) {
            return None;
        }
        self.logged_at = Some(now);
        Some(std::mem::take(&mut self.lost))
    }

    /// Whether the exports before this successful one failed. The next failure is logged at once.
    fn recovered(&mut self) -> bool {
        std::mem::take(self).logged_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_exports_are_logged_once_a_minute_with_all_that_was_lost() {
        let mut failures = Failures::default();
        let at = |seconds: u64| Boottime(seconds * 1_000_000_000);
        let lines = [1, 2, 60, 61, 62].map(|second| failures.record(10, at(second)));
        assert_eq!(lines, [Some(10), None, None, Some(30), None]);
        assert!(failures.recovered() && !failures.recovered());
        assert_eq!(failures.record(10, at(63)), Some(10));
    }
}
