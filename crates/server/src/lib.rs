//! The server of Key Authority. Its modules:
//!
//! - `program` starts the server and shuts it down.
//! - `transport` owns connections.
//! - `rpc` implements gRPC.
//! - `auth` decides what callers may do.
//! - `verify`, `admin`, `ext_authz` and `http` answer calls; `proxied` decides about the requests of proxies; `console`
//!   has the pages for people.
//! - `observability` has logs, traces and metrics.
//! - `wire` converts protobuf messages to the domain and back.

mod admin;
mod auth;
mod console;
mod entropy;
#[cfg(feature = "ext-authz")]
mod ext_authz;
mod gzip;
mod http;
mod keyed_semaphore;
mod observability;
mod program;
mod proxied;
mod rpc;
#[doc(hidden)]
pub mod testing;
mod text_file;
mod transport;
mod verify;
mod version;
mod wire;

pub use program::command::main;
