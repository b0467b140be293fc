//! A gRPC transport for methods that work on encoded messages.
//!
//! tonic decodes a message into a structure, boxes futures and bodies, and keeps metadata and extensions for every
//! call. A method that reads its request in place, and appends its response to the outgoing bytes, needs none of that.
//! It implements [`UnaryMethod`] or [`StreamMethod`], and [`RawMethods`] finds it by its path. The transport does the
//! framing and bounds the size of a request. It knows nothing else: the type of a caller, `C`, is up to the methods.

mod body;
pub(crate) mod frame;
mod method;
mod registry;
mod stream;
mod unary;

pub(crate) use body::ResponseBody;
pub(crate) use method::{Admission, StreamMethod, UnaryMethod};
pub use registry::RawMethods;
pub(crate) use registry::{RawCall, RawMethod};
pub(crate) use stream::MessageStream;
pub(crate) use unary::UnaryCall;
