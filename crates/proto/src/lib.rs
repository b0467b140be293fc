//! The wire of Key Authority: the types generated from `proto/`, and the descriptor set that reflection serves.
//!
//! It knows nothing of rules: what a field may hold is checked where the wire is turned into the domain.

/// Package `keyauthority.v1`.
pub mod v1 {
    #![allow(clippy::all, reason = "generated")]
    tonic::include_proto!("keyauthority.v1");
}

/// Package `envoy.service.auth.v3`: by what a proxy asks, as far as it is understood here.
pub mod ext_authz {
    #![allow(clippy::all, reason = "generated")]
    tonic::include_proto!("envoy.service.auth.v3");

    /// The descriptors of this package, with comments.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ext_authz.bin"));
}

mod redacted;

/// The descriptors of package `keyauthority.v1` and all it imports, with comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/keyauthority.bin"));
