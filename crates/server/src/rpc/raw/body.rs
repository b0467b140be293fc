//! The response body of a raw method.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body::{Body, Frame};
use tonic::Status;

use super::stream::MessageStream;
use crate::rpc::trailers;

/// The body of the response to a request with body `B`.
pub struct ResponseBody<B, C>(BodyState<B, C>);

enum BodyState<B, C> {
    /// No message; the status is in the headers.
    Empty,
    /// One framed message, until it is sent; then the trailers.
    Unary(Option<Bytes>),
    /// A stream of messages, for as long as the peer sends requests.
    Stream(Box<MessageStream<B, C>>),
}

impl<B, C> Default for ResponseBody<B, C> {
    fn default() -> Self {
        Self(BodyState::Empty)
    }
}

impl<B: Body<Data = Bytes> + Unpin, C: Unpin + 'static> Body for ResponseBody<B, C> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.get_mut().0 {
            BodyState::Empty => Poll::Ready(None),
            BodyState::Unary(message) => Poll::Ready(Some(Ok(message.take().map_or_else(trailers::ok, Frame::data)))),
            BodyState::Stream(stream) => Pin::new(&mut **stream).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, BodyState::Empty)
    }
}

/// Returns the response with one framed message.
pub(super) fn unary<B, C>(message: Vec<u8>) -> Response<ResponseBody<B, C>> {
    with_body(BodyState::Unary(Some(message.into())))
}

/// Returns the response with a stream of messages.
pub(super) fn streaming<B, C>(stream: MessageStream<B, C>) -> Response<ResponseBody<B, C>> {
    with_body(BodyState::Stream(Box::new(stream)))
}

/// Returns the response of a call that failed before its response began.
pub(super) fn failed<B, C>(status: Status) -> Response<ResponseBody<B, C>> {
    status.into_http()
}

fn with_body<B, C>(state: BodyState<B, C>) -> Response<ResponseBody<B, C>> {
    let mut response = Response::new(ResponseBody(state));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
