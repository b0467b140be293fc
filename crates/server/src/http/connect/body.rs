//! The body of a request, as the one gRPC message that it becomes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body as HttpBody;
use bytes::Bytes;
use http_body::{Body, Frame};
use prost_reflect::MessageDescriptor;
use tokio::sync::Semaphore;
use tokio::task::block_in_place;
use tokio_util::sync::PollSemaphore;
use tonic::Status;

use super::json;
use crate::rpc::errors::RpcError;
use crate::transport::budget::RequestCharge;

/// The largest JSON text, in bytes. A decoded message can be fifty times as large.
const JSON_BYTES_MAX: usize = 1024 * 1024;
/// The largest protobuf message, in bytes. Each method has its own limit, which is not greater.
const PROTO_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The size from which a JSON text is large, in bytes.
pub(super) const LARGE_BYTES: usize = 64 * 1024;
/// The length of the prefix of a gRPC message: a flag and the length of the message.
pub(super) const PREFIX_BYTES: usize = 5;

/// The encoding of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// Protobuf's mapping to JSON.
    Json,
    /// Binary protobuf.
    Proto,
}

impl Codec {
    /// Returns the size limit of a body, in bytes.
    pub(super) const fn bytes_max(self) -> usize {
        match self {
            Self::Json => JSON_BYTES_MAX,
            Self::Proto => PROTO_BYTES_MAX,
        }
    }
}

/// The body of a gRPC request with one message.
pub(crate) struct RequestBody(State);

enum State {
    Reading(Box<Reading>),
    Ended,
}

/// A body that is read and converted when it is polled.
pub(super) struct Reading {
    body: HttpBody,
    codec: Codec,
    bytes_max: usize,
    input: MessageDescriptor,
    charge: RequestCharge,
    bytes: Vec<u8>,
    is_complete: bool,
    turn: PollSemaphore,
}

impl Reading {
    pub(super) fn new(
        body: HttpBody,
        (codec, bytes_max): (Codec, usize),
        input: MessageDescriptor,
        charge: RequestCharge,
        large: &Arc<Semaphore>,
    ) -> Self {
        // Protobuf becomes the message in place.
        let bytes = if codec == Codec::Proto { vec![0; PREFIX_BYTES] } else { Vec::new() };
        let turn = PollSemaphore::new(Arc::clone(large));
        Self { body, codec, bytes_max, input, charge, bytes, is_complete: false, turn }
    }

    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Status>> {
        while !self.is_complete {
            self.check_size(usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX))?;
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.check_size(chunk.len())?;
                        self.bytes.extend_from_slice(&chunk);
                        self.charge.set(self.bytes.len()).map_err(RpcError::from)?;
                    }
                }
                Some(Err(_)) => return Poll::Ready(Err(Status::cancelled("the body was not received completely"))),
                None => self.is_complete = true,
            }
        }
        Poll::Ready(match self.codec {
            Codec::Proto => Ok(framed(std::mem::take(&mut self.bytes))),
            Codec::Json => {
                let is_large = self.bytes.len() > LARGE_BYTES;
                let _turn = if is_large { ready!(self.turn.poll_acquire(context)) } else { None };
                let mut message = vec![0; PREFIX_BYTES];
                let mut convert = || json::append_message(&self.input, &self.bytes, &mut message);
                // The other tasks of this thread continue on another one.
                if is_large {
                    block_in_place(convert)?;
                } else {
                    convert()?;
                }
                Ok(framed(message))
            }
        })
    }

    /// Fails if the body is too large with `more` bytes.
    fn check_size(&self, more: usize) -> Result<(), Status> {
        let prefix = if self.codec == Codec::Proto { PREFIX_BYTES } else { 0 };
        if self.bytes.len().saturating_add(more) > self.bytes_max + prefix {
            return Err(Status::out_of_range(format!("the body is larger than {} bytes", self.bytes_max)));
        }
        Ok(())
    }
}

/// Writes the prefix of the message that follows five free bytes.
fn framed(mut message: Vec<u8>) -> Bytes {
    let len = u32::try_from(message.len().saturating_sub(PREFIX_BYTES)).unwrap_or(u32::MAX);
    if let Some(prefix) = message.get_mut(1..PREFIX_BYTES) {
        prefix.copy_from_slice(&len.to_be_bytes());
    }
    message.into()
}

impl RequestBody {
    pub(super) fn read(reading: Reading) -> Self {
        Self(State::Reading(Box::new(reading)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let State::Reading(reading) = &mut this.0 else { return Poll::Ready(None) };
        let message = ready!(reading.poll_message(context));
        this.0 = State::Ended;
        Poll::Ready(Some(message.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, State::Ended)
    }
}
