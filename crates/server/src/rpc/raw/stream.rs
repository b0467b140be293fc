//! A call with a stream of messages in both directions.
//!
//! The responses to all messages that have arrived go into one chunk of the response. While the peer does not read its
//! responses, nothing more is read from it: flow control delays this stream and no other.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;

use super::frame::{self, BodyBuffer};
use super::method::StreamMethod;
use crate::rpc::decode_errors;
use crate::rpc::errors::RpcError;
use crate::rpc::trailers;
use crate::transport::budget::RequestCharge;

/// The size at which a chunk of responses is sent: a frame of HTTP/2.
const CHUNK_BYTES: usize = 16 * 1024;
/// The maximum number of messages that are answered together. More are not faster, and all of their responses are in
/// memory at once.
const MESSAGES_MAX: usize = 64;

/// The responses of a stream.
pub(crate) struct MessageStream<B, C> {
    method: Arc<dyn StreamMethod<C>>,
    caller: C,
    body: B,
    buffer: BodyBuffer,
    charge: RequestCharge,
    /// Completes when the connection is to end, which ends the stream in order.
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    is_over: bool,
    error: Option<Status>,
}

impl<B: Body<Data = Bytes> + Unpin, C: 'static> MessageStream<B, C> {
    pub(crate) fn new(
        body: B,
        method: Arc<dyn StreamMethod<C>>,
        caller: C,
        closing: WaitForCancellationFutureOwned,
        charge: RequestCharge,
    ) -> Self {
        let buffer = BodyBuffer::default();
        Self { method, caller, body, buffer, charge, closing: Box::pin(closing), is_over: false, error: None }
    }

    /// Answers the messages that have arrived completely, until a chunk is full.
    fn answer(&mut self, out: &mut Vec<u8>) -> Result<(), Status> {
        let max = self.method.request_bytes_max();
        while out.len() < CHUNK_BYTES {
            let (mut messages, mut len) = (Vec::new(), 0);
            while messages.len() < MESSAGES_MAX {
                let rest = self.buffer.bytes().get(len..).unwrap_or_default();
                match frame::split_first(rest, max) {
                    Ok(Some((message, taken))) => {
                        messages.push(message);
                        len += taken;
                    }
                    Err(status) if messages.is_empty() => return Err(status),
                    // An error comes after the responses to the messages before it.
                    Ok(None) | Err(_) => break,
                }
            }
            if messages.is_empty() {
                return Ok(());
            }
            self.method.answer(&self.caller, &messages, out)?;
            self.buffer.advance(len);
        }
        Ok(())
    }

    /// Reads and answers until no more data has arrived, or a chunk is full.
    fn fill(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> Result<(), Status> {
        loop {
            self.answer(out)?;
            self.charge.set(self.buffer.bytes().len()).map_err(RpcError::from)?;
            if out.len() >= CHUNK_BYTES {
                return Ok(());
            }
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.buffer.push(chunk);
                    }
                }
                Poll::Ready(Some(Err(_))) => return Err(Status::cancelled("the stream was cancelled by the client")),
                Poll::Ready(None) => {
                    self.is_over = true;
                    let is_whole = self.buffer.bytes().is_empty();
                    return if is_whole { Ok(()) } else { Err(decode_errors::unframed().into()) };
                }
                Poll::Pending => return Ok(()),
            }
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin, C: Unpin + 'static> Body for MessageStream<B, C> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let mut out = Vec::new();
        if !this.is_over {
            this.is_over = this.closing.as_mut().poll(context).is_ready();
        }
        if !this.is_over
            && let Err(status) = this.fill(context, &mut out)
        {
            this.is_over = true;
            this.error = Some(status);
        }
        if !out.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(out.into()))));
        }
        if !this.is_over {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(this.error.take().map_or_else(trailers::ok, |status| trailers::error(&status)))))
    }
}
