//! The methods of the raw transport, by path.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use tonic::Status;

use super::body::{ResponseBody, failed, streaming, unary};
use super::method::{StreamMethod, UnaryMethod};
use super::stream::MessageStream;
use super::unary::UnaryCall;
use crate::transport::connection::ConnectionContext;

/// A method.
pub enum RawMethod<C> {
    /// One request, one response.
    Unary(Arc<dyn UnaryMethod<C>>),
    /// Many requests, many responses.
    Stream(Arc<dyn StreamMethod<C>>),
}

/// The methods, by path.
pub struct RawMethods<C> {
    by_path: Vec<(String, RawMethod<C>)>,
}

impl<C: Send + 'static> RawMethods<C> {
    /// Makes a registry of these methods.
    #[must_use]
    pub fn new(by_path: Vec<(String, RawMethod<C>)>) -> Self {
        Self { by_path }
    }

    /// Returns the method with this path. There are few, so that comparing is faster than hashing.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&RawMethod<C>> {
        self.by_path.iter().find_map(|(known, method)| (known == path).then_some(method))
    }

    /// Begins a call of `method` on `connection`.
    pub fn begin(
        &self,
        method: &RawMethod<C>,
        caller: C,
        request: Request<Incoming>,
        connection: &ConnectionContext,
    ) -> RawCall<C> {
        if request.headers().get("grpc-encoding").is_some_and(|encoding| encoding != "identity") {
            return RawCall(State::Answered(Some(compressed())));
        }
        let body = request.into_body();
        RawCall(match method {
            RawMethod::Unary(method) => {
                State::Unary(UnaryCall::new(body, Arc::clone(method), caller, &connection.budget))
            }
            RawMethod::Stream(method) => State::Answered(Some(match method.admit(&caller) {
                Ok(()) => {
                    let closing = connection.closing.clone().cancelled_owned();
                    streaming(MessageStream::new(body, Arc::clone(method), caller, closing))
                }
                Err(error) => failed(error.into()),
            })),
        })
    }
}

/// Returns the response to a compressed request, with the accepted encoding.
fn compressed<C>() -> Response<ResponseBody<C>> {
    let status = Status::unimplemented("compressed messages are not supported; send them with grpc-encoding identity");
    let mut response = failed(status);
    response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    response
}

/// A call of a raw method, until its response begins.
pub struct RawCall<C>(State<C>);

enum State<C> {
    Unary(UnaryCall<Incoming, C>),
    Answered(Option<Response<ResponseBody<C>>>),
}

impl<C: Send + Unpin + 'static> Future for RawCall<C> {
    type Output = Response<ResponseBody<C>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Unary(call) => Pin::new(call).poll(context).map(|answer| match answer {
                Ok(message) => unary(message),
                Err(status) => failed(status),
            }),
            State::Answered(response) => match response.take() {
                Some(response) => Poll::Ready(response),
                None => Poll::Pending,
            },
        }
    }
}
