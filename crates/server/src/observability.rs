//! Logs, traces, metrics, and the HTTP port of probes and scrapers.

pub(crate) mod error_chain;
pub(crate) mod line_limit;
pub(crate) mod metrics;
pub(crate) mod telemetry;
