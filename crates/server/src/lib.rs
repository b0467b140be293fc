//! The server of Key Authority, in rooms: `program` starts and ends it; `transport` owns connections; `rpc` is gRPC; `auth`
//! decides what callers may do; `verify`, `admin` and `ext_authz` answer; `observability` says how it goes; `wire` turns
//! protobuf into the domain and back.

mod admin;
mod auth;
mod entropy;
#[cfg(feature = "ext-authz")]
mod ext_authz;
mod observability;
mod program;
mod rpc;
#[doc(hidden)]
pub mod testing;
mod transport;
mod verify;
mod wire;

pub use program::command::main;

/// The version of this build. A build that answers without a lease, for the fault harness alone, says so.
const VERSION: &str = if cfg!(feature = "ignore-lease") {
    concat!(env!("CARGO_PKG_VERSION"), "+ignore-lease")
} else {
    env!("CARGO_PKG_VERSION")
};
