//! The HTTP door: the authority for clients that do not use gRPC.
//!
//! It has no rules of its own. A call of the API becomes the gRPC call with the same name, in this process, and takes
//! the same path as one from the network: the same authorization, limits, deadlines, audit, metrics and errors.
//! Introspection and forward-auth ask the functions of Verify. The module converts between HTTP and those, and never
//! decides anything about a key.

mod caller;
mod connect;
mod door;
mod form;
mod forward_auth;
mod held;
mod introspect;
mod openapi;
mod reply;
mod revoke;
mod session;
mod unread;

pub(crate) use connect::{ApiError, Rpc, RpcFuture};
pub(crate) use door::{Door, DoorService, DoorSettings};
pub(crate) use form::{CollectError, collect};
pub(crate) use forward_auth::visitor;
pub(crate) use reply::status_of;
pub(crate) use session::Session;
