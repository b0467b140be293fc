//! Verify: decides whether the holder of a token may do something.
//!
//! A call arrives from the raw transport as bytes. [`methods`] authorizes its caller, `decode` reads the request in
//! place, [`engine`] decides, and `encode` appends the response to the outgoing bytes.

mod batch;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod engine;
pub(crate) mod methods;

pub(crate) use decode::VerifyRequestRef;
pub use engine::Verifier;
