//! Requests that cannot be decoded: whose mistake it is.
//!
//! tonic answers INTERNAL when the bytes of a request are not one message, or not the one that they should be. But it is
//! the caller who
//! is wrong, so this layer makes it `INVALID_ARGUMENT`, and names the field where prost does. It looks at answers that are
//! a status alone, and at nothing else; what was decoded is judged in `wire`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::rpc::errors::RpcError;

/// What prost's errors begin with.
const MARK: &str = "failed to decode Protobuf message: ";

/// The failure that an undecodable request is, if `status` says that it was one.
#[must_use]
pub(crate) fn failure(status: &Status) -> Option<RpcError> {
    // An INTERNAL of ours carries details; one without was made by tonic, before a request reached us.
    if status.code() != Code::Internal || !status.details().is_empty() {
        return None;
    }
    Some(status.message().strip_prefix(MARK).map_or_else(unframed, refused))
}

/// What is no gRPC message, or more than one.
#[must_use]
pub(crate) fn unframed() -> RpcError {
    RpcError::invalid("", "must be one whole gRPC message")
}

/// What is no message of its type, as prost tells it.
#[must_use]
pub(crate) fn undecodable(error: &prost::DecodeError) -> RpcError {
    let text = error.to_string();
    refused(text.strip_prefix(MARK).unwrap_or(&text))
}

fn refused(cause: &str) -> RpcError {
    // Where it knows the field, prost says `Message.field: cause`.
    let field = cause.split_once(": ").and_then(|(place, _)| place.split_once('.')).map_or("", |(_, field)| field);
    let rule = if cause.contains("UTF-8") { "must be UTF-8 text" } else { "must be as the .proto file says" };
    RpcError::invalid(field, rule)
}

/// Puts the blame where it belongs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DecodeErrorLayer;

impl<S> Layer<S> for DecodeErrorLayer {
    type Service = DecodeErrorService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DecodeErrorService { inner }
    }
}

/// A service whose callers are told of their malformed requests; made by [`DecodeErrorLayer`].
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
    /// The answer to come; made by [`DecodeErrorService`].
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
        // Only an answer without a message has its status among the headers.
        if !response.headers().contains_key(Status::GRPC_STATUS) {
            return Poll::Ready(Ok(response));
        }
        let failure = Status::from_header_map(response.headers()).as_ref().and_then(failure);
        Poll::Ready(Ok(failure.map_or(response, |failure| Status::from(failure).into_http())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str) -> Option<String> {
        failure(&Status::internal(message)).map(|failure| failure.message())
    }

    #[test]
    fn the_field_is_named_where_it_is_known() {
        let text = "failed to decode Protobuf message: CreateKeyRequest.display_name: invalid string value: data is not UTF-8 encoded";
        assert_eq!(told(text).as_deref(), Some("display_name must be UTF-8 text"));
        let noise = told("failed to decode Protobuf message: invalid wire type value: 6").unwrap();
        assert!(noise.contains("must be as the .proto file says"), "{noise}");
    }

    #[test]
    fn what_tonic_cannot_frame_is_the_senders_too() {
        assert!(told("Missing request message.").unwrap().contains("must be one whole gRPC message"));
    }

    #[test]
    fn other_faults_stay_ours() {
        let ours = Status::from(RpcError::SealBroken);
        assert!(failure(&ours).is_none());
        assert!(failure(&Status::with_details(Code::Internal, "an internal fault", "x".into())).is_none());
        assert!(failure(&Status::unavailable("failed to decode Protobuf message: x")).is_none());
    }
}
