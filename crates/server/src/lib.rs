//! The door of Key Authority: gRPC, callers, configuration, telemetry.

pub mod admin;
pub mod announce;
pub mod bootstrap;
pub mod caller;
pub mod chain;
pub mod check_config;
pub mod command;
pub mod config;
pub mod deadline;
pub mod entropy;
#[cfg(feature = "ext-authz")]
pub mod ext_authz;
pub mod health;
pub mod healthcheck;
pub mod http;
pub mod lifecycle;
pub mod listener;
pub mod malformed;
pub mod methods;
pub mod metrics;
pub mod open;
pub mod private;
pub mod routes;
pub mod serve;
pub mod service;
pub mod status;
pub mod telemetry;
pub mod tls;
pub mod verify;
pub mod wire;

/// Which build this is. One that answers without a lease, for the fault harness alone, says so wherever it is asked.
pub const VERSION: &str = if cfg!(feature = "ignore-lease") {
    concat!(env!("CARGO_PKG_VERSION"), "+ignore-lease")
} else {
    env!("CARGO_PKG_VERSION")
};
