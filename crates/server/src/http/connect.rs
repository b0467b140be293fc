//! Every unary RPC by the Connect protocol: `POST /keyauthority.v1.KeyAuthority/{Method}` with a message as JSON or as
//! protobuf.
//!
//! The methods come from the descriptor set, so that a new RPC needs no code here. A request becomes a gRPC request for
//! the services of this process, and its response is converted back. The body is read and decoded only when the service
//! reads it, after the service has admitted the caller.

mod api;
mod body;
mod call;
mod errors;
mod json;
mod malformed;
mod names;
mod rpc;

pub(super) use api::Api;
pub(crate) use api::ApiError;
pub(super) use call::routes;
pub(crate) use rpc::{Rpc, RpcFuture};
