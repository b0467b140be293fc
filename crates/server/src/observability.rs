//! Logs, traces, metrics, and the HTTP port of probes and scrapers.

pub mod error_chain;
pub mod metrics;
pub mod side_port;
pub mod telemetry;
