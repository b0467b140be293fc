//! Maps requests that do not decode to `INVALID_ARGUMENT`.
//!
//! tonic answers INTERNAL when the bytes of a request are not exactly one message, or not of the expected type. The
//! caller is at fault, so this layer changes the code to `INVALID_ARGUMENT`, and names the field if prost does. It
//! examines only responses that consist of a status. Decoded messages are validated in `wire`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::rpc::errors::RpcError;

/// The prefix of prost's errors.
const PROST_PREFIX: &str = "failed to decode Protobuf message: ";

/// Returns the error for an undecodable request, if `status` is tonic's status for one.
#[must_use]
pub(crate) fn from_status(status: &Status) -> Option<RpcError> {
    // Our own INTERNAL statuses have details; one without details was made by tonic, before a handler saw the request.
    if status.code() != Code::Internal || !status.details().is_empty() {
        return None;
    }
    Some(status.message().strip_prefix(PROST_PREFIX).map_or_else(unframed, invalid))
}

/// The error for bytes that are not exactly one gRPC message.
#[must_use]
pub(crate) fn unframed() -> RpcError {
    RpcError::invalid("", "must be one whole gRPC message")
}

/// The error for a message that is not of its type, with prost's cause.
#[must_use]
pub(crate) fn undecodable(error: &prost::DecodeError) -> RpcError {
    let text = error.to_string();
    invalid(text.strip_prefix(PROST_PREFIX).unwrap_or(&text))
}

/// The error for a message whose encoding is wrong, no matter where.
#[must_use]
pub(crate) fn malformed() -> RpcError {
    invalid("")
}

fn invalid(cause: &str) -> RpcError {
    // If prost knows the field, its error is `Message.field: cause`.
    let field = cause.split_once(": ").and_then(|(place, _)| place.split_once('.')).map_or("", |(_, field)| field);
    let rule =
        if cause.contains("UTF-8") { "must be UTF-8 text" } else { "must be encoded as the .proto file defines" };
    RpcError::invalid(field, rule)
}

/// The layer that corrects the status of undecodable requests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DecodeErrorLayer;

impl<S> Layer<S> for DecodeErrorLayer {
    type Service = DecodeErrorService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DecodeErrorService { inner }
    }
}

/// The service of [`DecodeErrorLayer`].
#[derive(Debug, Clone)]
pub(crate) struct DecodeErrorService<S> {
    inner: S,
}

impl<S, A, B> Service<Request<A>> for DecodeErrorService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Default,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = DecodeErrorFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        DecodeErrorFuture { inner: self.inner.call(request) }
    }
}

pin_project! {
    /// The response future of [`DecodeErrorService`].
    pub struct DecodeErrorFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, B, E> Future for DecodeErrorFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().inner.poll(cx))?;
        // Only a response without a message has its status in the headers.
        if !response.headers().contains_key(Status::GRPC_STATUS) {
            return Poll::Ready(Ok(response));
        }
        let error = Status::from_header_map(response.headers()).as_ref().and_then(from_status);
        Poll::Ready(Ok(error.map_or(response, |error| Status::from(error).into_http())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message_for(message: &str) -> Option<String> {
        from_status(&Status::internal(message)).map(|error| error.message())
    }

    #[test]
    fn the_field_is_named_if_it_is_known() {
        let text = "failed to decode Protobuf message: CreateKeyRequest.display_name: invalid string value: data is \
                    not UTF-8 encoded";
        assert_eq!(message_for(text).as_deref(), Some("display_name must be UTF-8 text"));
        let noise = message_for("failed to decode Protobuf message: invalid wire type value: 6").unwrap();
        assert!(noise.contains("must be encoded as the .proto file defines"), "{noise}");
    }

    #[test]
    fn a_message_that_tonic_cannot_frame_is_invalid() {
        assert!(message_for("Missing request message.").unwrap().contains("must be one whole gRPC message"));
    }

    #[test]
    fn other_statuses_are_unchanged() {
        let ours = Status::from(RpcError::UnsealFailed);
        assert!(from_status(&ours).is_none());
        assert!(from_status(&Status::with_details(Code::Internal, "an internal fault", "x".into())).is_none());
        assert!(from_status(&Status::unavailable("failed to decode Protobuf message: x")).is_none());
    }
}
