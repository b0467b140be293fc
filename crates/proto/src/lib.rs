//! The wire of Key Authority: the types generated from `proto/`, and the descriptor set that reflection serves.
//!
//! It knows nothing of rules: what a field may hold is checked where the wire is turned into the domain.

/// Package `keyauthority.v1`.
pub mod v1 {
    #![allow(clippy::all, reason = "generated")]
    tonic::include_proto!("keyauthority.v1");
}

mod redacted;

/// The descriptors of package `keyauthority.v1` and all it imports, with comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/keyauthority.bin"));
