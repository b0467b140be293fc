//! Logs, traces, metrics, and the HTTP port of probes and scrapers.

pub(crate) mod line_limit;
pub(crate) mod metrics;
pub(crate) mod telemetry;

pub(crate) use key_authority_text_io::error_chain;
