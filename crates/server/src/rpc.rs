//! gRPC: how a call is read, bounded, observed and answered. Nothing here knows an RPC of the service.

pub(crate) mod call;
pub(crate) mod connection;
pub(crate) mod deadline;
pub(crate) mod decode_errors;
pub(crate) mod errors;
pub(crate) mod health;
pub(crate) mod raw;
