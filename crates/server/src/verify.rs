//! Verify: may the holder of this token do this?
//!
//! A call comes from the raw transport as bytes: [`methods`] authorizes its caller, `decode` reads the request where it lies,
//! [`engine`] decides, `encode` appends the response to the bytes that are sent.

mod batch;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod engine;
pub(crate) mod methods;

pub use engine::Verifier;
