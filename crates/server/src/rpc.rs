//! gRPC: framing, deadlines, metrics, errors and health. The modules are independent of the RPCs of the service.

pub(crate) mod call;
pub(crate) mod connection;
pub(crate) mod deadline;
pub(crate) mod decode_errors;
pub(crate) mod errors;
pub(crate) mod field_count;
pub(crate) mod health;
pub(crate) mod raw;
pub(crate) mod trailers;
