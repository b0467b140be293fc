//! The methods of the raw transport.

use crate::rpc::errors::RpcError;

/// How a unary call runs once its caller is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// On the connection's task, as soon as the message has arrived.
    Inline,
    /// On its own task, since it takes long enough to delay the connection's other calls.
    Spawned,
}

/// A unary method on encoded messages, for callers described by `C`.
pub trait UnaryMethod<C>: Send + Sync + 'static {
    /// Returns the largest request message, in bytes.
    fn request_bytes_max(&self) -> usize;

    /// Decides about a caller before its message is read. A method with large messages rejects unknown callers at this
    /// point, so that nothing is buffered for them.
    ///
    /// # Errors
    /// The response to a caller that is not admitted.
    fn admit(&self, _caller: &C) -> Result<Admission, RpcError> {
        Ok(Admission::Inline)
    }

    /// Reads the request `message` and appends the response to `out`.
    ///
    /// # Errors
    /// The error of the call.
    fn call(&self, caller: &C, message: &[u8], out: &mut Vec<u8>) -> Result<(), RpcError>;
}

/// A method with a stream of encoded messages in both directions, for callers described by `C`.
pub trait StreamMethod<C>: Send + Sync + 'static {
    /// Returns the largest request message, in bytes.
    fn request_bytes_max(&self) -> usize;

    /// Decides about a caller before the stream begins.
    ///
    /// # Errors
    /// The response to a caller that is not admitted.
    fn admit(&self, caller: &C) -> Result<(), RpcError>;

    /// Answers messages that arrived together: appends framed responses to `out`.
    ///
    /// # Errors
    /// The error that ends the stream. Responses that were appended before are sent.
    fn answer(&self, caller: &C, messages: &[&[u8]], out: &mut Vec<u8>) -> Result<(), RpcError>;
}
