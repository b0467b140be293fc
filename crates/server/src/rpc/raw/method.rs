//! What a method of the raw transport is.

use crate::rpc::errors::RpcError;

/// How a unary call is run once its caller is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// On the connection's task, as soon as the message has arrived.
    Inline,
    /// As a task of its own, since it takes long enough to hold up the connection's other calls.
    Spawned,
}

/// A unary method on encoded messages, for callers described by `C`.
pub trait UnaryMethod<C>: Send + Sync + 'static {
    /// The largest request message, in bytes.
    fn request_bytes_max(&self) -> usize;

    /// Decides about a caller before its message is read. A method with large messages refuses unknown callers here, so that
    /// nothing is buffered for them.
    ///
    /// # Errors
    /// The answer to a caller who is not admitted.
    fn admit(&self, _caller: &C) -> Result<Admission, RpcError> {
        Ok(Admission::Inline)
    }

    /// Reads the request `message` and appends the response to `out`.
    ///
    /// # Errors
    /// The answer in place of a response.
    fn call(&self, caller: &C, message: &[u8], out: &mut Vec<u8>) -> Result<(), RpcError>;
}

/// A method with a stream of encoded messages in both directions, for callers described by `C`.
pub trait StreamMethod<C>: Send + Sync + 'static {
    /// The largest request message, in bytes.
    fn request_bytes_max(&self) -> usize;

    /// Decides about a caller before the stream begins.
    ///
    /// # Errors
    /// The answer to a caller who is not admitted.
    fn admit(&self, caller: &C) -> Result<(), RpcError>;

    /// Answers messages that arrived together: appends framed responses to `out`.
    ///
    /// # Errors
    /// How the stream ends. What was appended before is sent.
    fn answer(&self, caller: &C, messages: &[&[u8]], out: &mut Vec<u8>) -> Result<(), RpcError>;
}
