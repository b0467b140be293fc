//! Logs and traces.
//!
//! This module owns the one subscriber of the process. Logs go to standard error, as text or as JSON lines. Traces are
//! exported over OTLP if the standard `OTEL_*` variables ask for it ([`environment`]). Without them there is no exporter,
//! no span and no cost.
//!
//! A log must never contain a token, a digest or a secret. Our own code does not write them, but dependencies would: h2
//! prints every header at TRACE, including `authorization`, sqlx prints statements at DEBUG, and rustls prints
//! handshakes. So regardless of the directives, only our own crates log below INFO. The filter lists our crates and not
//! the dependencies, so that it covers future dependencies too.

mod environment;
mod exporter;
mod log_writer;
mod trace;

use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Filter, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer};

pub(crate) use environment::{TraceConfig, trace_config};
use exporter::LoggingExporter;
pub(crate) use log_writer::DroppedLines;
use log_writer::LogWriter;
use trace::CallSampler;
pub use trace::CallTracer;

/// The prefix of the targets of our own crates.
const OURS: &str = "key_authority";
/// The time limit for the export of the last spans at exit.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// The logging configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// The form of log lines.
    pub format: LogFormat,
    /// The log filter: directives of tracing-subscriber's `EnvFilter`.
    pub directives: String,
}

/// Why logs or traces could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    /// The log directives do not parse.
    #[error("invalid --log (KEY_AUTHORITY_LOG)")]
    Directives(#[from] ParseError),
    /// The `OTEL_*` variables are not a valid exporter configuration.
    #[error("cannot create the trace exporter from the OTEL_* variables")]
    Exporter(#[from] ExporterBuildError),
    /// The process already has a subscriber.
    #[error("logging is already set up")]
    Twice(#[from] TryInitError),
}

/// Whether these directives parse and have the effect that they suggest. The parser takes a word that is no level for a
/// module, and enables that module alone: `loud` would log nothing at all.
#[must_use]
pub(crate) fn are_directives(directives: &str) -> bool {
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let ends_in_level = |directive: &str| directive.rsplit('=').next().is_some_and(is_level);
    !directives.contains(char::is_whitespace)
        && directives.split(',').all(ends_in_level)
        && EnvFilter::builder().parse(directives).is_ok()
}

/// The target of sqlx's pool. It logs an error each time it refuses a session, many times a second while a database is
/// read-only. Storage logs the reason once.
const POOL: &str = "sqlx_core::pool";

/// The target of sqlx's parser of PostgreSQL URLs and of `.pgpass`. It logs values and lines that it does not
/// understand, which may contain a password.
const LOGIN: &str = "sqlx_postgres::options";

/// Whether an event may be logged at all; see the module's documentation on secrets.
fn is_loggable(metadata: &Metadata<'_>) -> bool {
    ![POOL, LOGIN].iter().any(|target| metadata.target().starts_with(target)) && is_public(metadata)
}

fn is_public(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || metadata.target().starts_with(OURS)
}

fn filter<S: Subscriber>(directives: &str) -> Result<impl Filter<S> + use<S>, ParseError> {
    // The level hint keeps the cheap level check: without it, the combined filters would disable that check.
    let fit = filter_fn(is_loggable).with_max_level_hint(LevelFilter::TRACE);
    Ok(EnvFilter::builder().parse(directives)?.and(fit))
}

fn log_layer<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}

/// The logs and traces of the process. Dropping it exports the last spans.
#[derive(Debug)]
#[must_use = "dropping it ends the export of traces"]
pub(crate) struct Telemetry {
    log: LogWriter,
    provider: Option<SdkTracerProvider>,
    tracer: CallTracer,
}

/// Sets up logs, and traces if there is a configuration. Call it once in a process, within the runtime, which the
/// exporter uses.
///
/// # Errors
/// [`TelemetryError`]; then nothing is set up.
pub(crate) fn init(log: &LogConfig, traces: Option<&TraceConfig>) -> Result<Telemetry, TelemetryError> {
    let provider = traces.map(tracer_provider).transpose()?;
    let sampler = traces.and_then(|TraceConfig { sampler: [name, argument], .. }| CallSampler::parse(name, argument));
    let call_tracer = sampler.map(CallTracer::new).unwrap_or_default();
    let spans = match &provider {
        Some(provider) => {
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer(env!("CARGO_PKG_NAME")));
            Some(layer.with_filter(filter(&log.directives)?))
        }
        None => None,
    };
    let writer = LogWriter::new();
    tracing_subscriber::registry()
        .with(spans)
        .with(log_layer(log.format, writer.make_writer()).with_filter(filter(&log.directives)?))
        .try_init()?;
    Ok(Telemetry { log: writer, provider, tracer: call_tracer })
}

fn tracer_provider(config: &TraceConfig) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = LoggingExporter::new(config.protocol)?;
    let mut resource = Resource::builder();
    if !config.is_service_named {
        resource = resource.with_service_name("key-authority");
    }
    // Calls are sampled before their spans are made.
    let builder = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_batch_exporter(exporter);
    Ok(builder.with_resource(resource.build()).build())
}

/// Logs an error as one JSON line on standard error, in the form of all JSON lines, whether logs are set up or not.
pub(crate) fn log_as_json(message: &'static str, error: &str) {
    let lines = tracing_subscriber::registry().with(log_layer(LogFormat::Json, std::io::stderr));
    tracing::subscriber::with_default(lines, || tracing::error!(error, "{message}"));
}

impl Telemetry {
    /// Returns the count of log lines that were dropped because nothing read standard error.
    #[must_use]
    pub(crate) fn dropped_lines(&self) -> DroppedLines {
        self.log.dropped_lines()
    }

    /// Returns the tracer of calls, which makes no spans if traces are not exported.
    #[must_use]
    pub(crate) fn tracer(&self) -> CallTracer {
        self.tracer.clone()
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_LIMIT)
        {
            tracing::warn!(%error, "cannot export the last spans");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(directives: &str) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter(directives).unwrap()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "h2::codec::framed_read", "canary-header");
            tracing::debug!(target: "sqlx::query", "canary-statement");
            tracing::warn!(target: "sqlx_postgres::options::parse", "canary-value");
            tracing::warn!(target: "sqlx_postgres::options::pgpass", "canary-line");
            tracing::info!(target: "hyper::proto", "foreign-info");
            tracing::trace!(target: "key_authority_server::verify", "own-trace");
        });
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn no_directive_enables_dependencies_below_info() {
        for directives in
            ["trace", "h2=trace,sqlx=debug", "h2::codec::framed_read=trace", "sqlx_postgres::options=warn"]
        {
            let text = logged(directives);
            assert!(!text.contains("canary"), "{directives}: {text}");
        }
        let text = logged("trace");
        assert!(text.contains("foreign-info") && text.contains("own-trace"), "{text}");
        assert!(!logged("info").contains("own-trace"));
    }

    #[test]
    fn ambiguous_directives_are_rejected() {
        for directives in ["info", "off", "WARN", "info,key_authority_server=debug", "warn,key_authority=trace"] {
            assert!(are_directives(directives), "{directives}");
        }
        for directives in
            ["loud", "info,loud", "h2=loud", "h2=", "key_authority_server", "", "info,,warn", "info, h2=debug"]
        {
            assert!(!are_directives(directives), "{directives}");
        }
    }
}
