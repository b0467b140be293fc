//! A call with one request message and one response message.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use tonic::Status;

use super::frame::{self, BodyBuffer};
use super::method::{Admission, UnaryMethod};
use crate::rpc::decode_errors;
use crate::rpc::errors::RpcError;
use crate::transport::budget::{ConnectionBudget, RequestCharge};
use crate::transport::limits::BoxError;

/// The initial capacity of a response; few responses are longer.
const USUAL_RESPONSE_BYTES: usize = 256;

/// The call: it reads one message and answers with a framed one.
pub(crate) struct UnaryCall<B, C> {
    body: B,
    buffer: BodyBuffer,
    charge: RequestCharge,
    budget: ConnectionBudget,
    /// The wait for room, if there was none when the request was complete.
    room: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    method: Arc<dyn UnaryMethod<C>>,
    caller: C,
    is_admitted: bool,
}

impl<B, C: 'static> UnaryCall<B, C> {
    pub(crate) fn new(body: B, method: Arc<dyn UnaryMethod<C>>, caller: C, budget: &ConnectionBudget) -> Self {
        Self {
            body,
            buffer: BodyBuffer::default(),
            charge: budget.request(),
            budget: budget.clone(),
            room: None,
            method,
            caller,
            is_admitted: false,
        }
    }

    /// Returns the message, once exactly one has arrived.
    fn message(&self) -> Result<&[u8], Status> {
        let bytes = self.buffer.bytes();
        match frame::split_first(bytes, self.method.request_bytes_max())? {
            Some((message, len)) if len == bytes.len() => Ok(message),
            _ => Err(decode_errors::unframed().into()),
        }
    }

    /// Fails as soon as data follows the message: the data could be endless, and is not buffered.
    fn check_trailing(&self) -> Result<(), Status> {
        let bytes = self.buffer.bytes();
        match frame::split_first(bytes, self.method.request_bytes_max())? {
            Some((_, len)) if len < bytes.len() => Err(decode_errors::unframed().into()),
            _ => Ok(()),
        }
    }

    fn answer(&self) -> Result<Vec<u8>, Status> {
        let message = self.message()?;
        let mut out = Vec::with_capacity(USUAL_RESPONSE_BYTES);
        frame::append(&mut out, |out| self.method.call(&self.caller, message, out))?;
        Ok(out)
    }
}

impl<B, C> Future for UnaryCall<B, C>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
    C: Unpin + 'static,
{
    type Output = Result<Vec<u8>, Status>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if !this.is_admitted {
            this.is_admitted = true;
            if this.method.admit(&this.caller)? == Admission::Spawned {
                // The inline executor polls a call once, and spawns a task for one that is not complete then.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        while !this.body.is_end_stream() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data() {
                        this.buffer.push(chunk);
                        this.charge.set(this.buffer.bytes().len()).map_err(RpcError::from)?;
                        this.check_trailing()?;
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(body_failed(error.into()))),
                None => break,
            }
        }
        if !this.budget.has_room() {
            let budget = this.budget.clone();
            let room = this.room.get_or_insert_with(|| Box::pin(async move { budget.room().await }));
            ready!(room.as_mut().poll(context));
        }
        Poll::Ready(this.answer())
    }
}

/// Returns the status of a call whose body ended with an error: the body's own, if it has one. The other cause is a
/// client that went away.
fn body_failed(error: BoxError) -> Status {
    match error.downcast::<Status>() {
        Ok(status) => *status,
        Err(_) => Status::cancelled("the call was cancelled by the client"),
    }
}
