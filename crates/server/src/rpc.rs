//! gRPC: deadlines, errors as statuses, health. Nothing here knows an RPC of the service.

pub mod deadline;
pub mod decode_errors;
pub mod errors;
pub mod health;
