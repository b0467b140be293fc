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
mod version;
mod wire;

pub use program::command::main;
