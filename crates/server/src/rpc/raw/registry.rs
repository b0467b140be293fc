//! The methods of the raw transport, by path.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use tonic::Status;

use super::body::{ResponseBody, failed, streaming, unary};
use super::method::{StreamMethod, UnaryMethod};
use super::stream::MessageStream;
use super::unary::UnaryCall;
use crate::transport::connection::ConnectionContext;
use crate::transport::limits::BoxError;

/// A method.
pub enum RawMethod<C> {
    /// One request, one response.
    Unary(Arc<dyn UnaryMethod<C>>),
    /// Many requests, many responses.
    Stream(Arc<dyn StreamMethod<C>>),
}

impl<C: 'static> RawMethod<C> {
    /// Returns the largest request of a unary method, in bytes.
    pub(crate) fn request_bytes_max(&self) -> Option<usize> {
        match self {
            Self::Unary(method) => Some(method.request_bytes_max()),
            Self::Stream(_) => None,
        }
    }
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
    pub fn begin<B>(
        &self,
        method: &RawMethod<C>,
        caller: C,
        request: Request<B>,
        connection: &ConnectionContext,
    ) -> RawCall<B, C>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
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
                    streaming(MessageStream::new(
                        body,
                        Arc::clone(method),
                        caller,
                        closing,
                        connection.budget.request(),
                    ))
                }
                Err(error) => failed(error.into()),
            })),
        })
    }
}

/// Returns the response to a compressed request, with the accepted encoding.
fn compressed<B, C>() -> Response<ResponseBody<B, C>> {
    let status = Status::unimplemented("compressed messages are not supported; send them with grpc-encoding identity");
    let mut response = failed(status);
    response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    response
}

/// A call of a raw method, until its response begins.
pub struct RawCall<B, C>(State<B, C>);

enum State<B, C> {
    Unary(UnaryCall<B, C>),
    Answered(Option<Response<ResponseBody<B, C>>>),
}

impl<B, C> Future for RawCall<B, C>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
    C: Send + Unpin + 'static,
{
    type Output = Response<ResponseBody<B, C>>;

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
