//! gRPC: how a call is read, bounded, observed and answered. Nothing here knows an RPC of the service.

pub mod call;
pub mod connection;
pub mod deadline;
pub mod decode_errors;
pub mod errors;
pub mod health;
pub mod raw;
