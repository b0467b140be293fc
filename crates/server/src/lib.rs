//! The door of Key Authority: gRPC, callers, configuration, telemetry.

pub mod admin;
pub mod auth;
pub mod entropy;
#[cfg(feature = "ext-authz")]
pub mod ext_authz;
pub mod observability;
pub mod program;
pub mod rpc;
pub mod transport;
pub mod verify;
pub mod wire;

/// Which build this is. One that answers without a lease, for the fault harness alone, says so wherever it is asked.
pub const VERSION: &str = if cfg!(feature = "ignore-lease") {
    concat!(env!("CARGO_PKG_VERSION"), "+ignore-lease")
} else {
    env!("CARGO_PKG_VERSION")
};
