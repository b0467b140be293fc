//! A gRPC transport for methods that work on encoded messages.
//!
//! tonic reads a message into a structure, boxes futures and bodies, and keeps metadata and extensions for every call. A method
//! that reads its request where it lies and appends its response to the bytes that are sent needs none of that. It implements
//! [`UnaryMethod`] or [`StreamMethod`], and [`RawMethods`] finds it by its path. The transport does the framing, bounds what
//! a request may hold, and knows nothing else: what a caller is, `C`, is up to the methods.

mod body;
pub(crate) mod frame;
mod method;
mod registry;
mod stream;
mod trailers;
mod unary;

pub(crate) use body::ResponseBody;
pub(crate) use method::{Admission, StreamMethod, UnaryMethod};
pub use registry::RawMethods;
pub(crate) use registry::{RawCall, RawMethod};
