//! The API of Key Authority: the types generated from `proto/`, and the descriptor set that reflection serves.
//!
//! It contains no rules: the values of fields are validated where a message is converted to the domain.

/// Package `keyauthority.v1`.
pub mod v1 {
    #![allow(clippy::all, reason = "generated")]
    tonic::include_proto!("keyauthority.v1");
}

/// Package `envoy.service.auth.v3`: the service that a proxy calls, with the fields that are used here.
pub mod ext_authz {
    #![allow(clippy::all, reason = "generated")]
    tonic::include_proto!("envoy.service.auth.v3");

    /// The descriptors of this package, with comments.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ext_authz.bin"));
}

mod endpoint;
mod redacted;

pub use endpoint::{EndpointError, EndpointUrl};

/// The descriptors of package `keyauthority.v1` and all it imports, with comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/keyauthority.bin"));
