//! The gRPC service of one connection. Each call goes to a raw method or to tonic's routes; the same [`CallPolicy`]
//! bounds and observes both.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::service::Service;
use tonic::Status;
use tower::util::ServiceExt as _;

use super::call::{CallBody, CallFuture, CallPolicy};
use super::raw::{RawCall, RawMethods, ResponseBody};
use crate::rpc::errors::RpcError;
use crate::transport::budget::{ChargedBody, ConnectionBudget};
use crate::transport::connection::ConnectionContext;
use crate::transport::limits::BoxError;
use crate::transport::places::{Counted, STRANGER_CALLS_MAX};

/// The content type of gRPC, without a suffix.
const CONTENT_TYPE: &[u8] = b"application/grpc";

/// The service of one connection. `authenticate` reads the caller of a call from its headers, once. A raw method gets
/// it as an argument, a handler behind `tonic` as a request extension.
pub struct ConnectionService<C, A, T> {
    raw: Arc<RawMethods<C>>,
    policy: CallPolicy,
    authenticate: A,
    tonic: T,
    connection: ConnectionContext,
}

impl<C, A, T> ConnectionService<C, A, T> {
    /// Makes a service for `connection` that serves `raw`, and everything else by `tonic`.
    pub fn new(
        raw: Arc<RawMethods<C>>,
        policy: CallPolicy,
        authenticate: A,
        tonic: T,
        connection: ConnectionContext,
    ) -> Self {
        Self { raw, policy, authenticate, tonic, connection }
    }
}

impl<C, A, T, R, B> Service<Request<R>> for ConnectionService<C, A, T>
where
    C: Clone + Send + Sync + Unpin + 'static,
    A: Fn(&HeaderMap) -> C,
    R: Body<Data = Bytes> + Send + Unpin + 'static,
    R::Error: Into<BoxError>,
    T: tower::Service<Request<R>, Response = Response<B>> + Clone + Send + 'static,
    T::Future: Send,
    T::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<CallBody<ChargedBody<EitherBody<R, C>>>>;
    type Error = BoxError;
    type Future = CallFuture<EitherCall<R, C>>;

    fn call(&self, mut request: Request<R>) -> Self::Future {
        let started = self.policy.begin(&request);
        if !is_grpc(request.headers()) {
            return started.run(EitherCall { kind: CallKind::Refused(Some(unsupported())), charge: None });
        }
        let caller = (self.authenticate)(request.headers());
        let connection = &self.connection;
        let Some(in_progress) = connection.place.begin_call() else {
            let refused = Status::from(RpcError::TooManyCalls { max: STRANGER_CALLS_MAX }).into_http();
            return started.run(EitherCall { kind: CallKind::Refused(Some(refused)), charge: None });
        };
        let kind = if let Some(method) = self.raw.get(request.uri().path()) {
            CallKind::Raw(self.raw.begin(method, caller, request, connection))
        } else {
            let extensions = request.extensions_mut();
            extensions.insert(caller);
            extensions.insert(started.series().clone());
            extensions.insert(connection.clone());
            if let Some(deadline) = started.deadline() {
                extensions.insert(deadline);
            }
            let (tonic, budget) = (self.tonic.clone(), connection.budget.clone());
            CallKind::Tonic(Box::pin(async move {
                if let Err(over) = budget.room_for(!request.body().is_end_stream()).await {
                    return Ok(Status::from(RpcError::from(over)).into_http());
                }
                let response = tonic.oneshot(request).await.map_err(Into::into)?;
                Ok(response.map(tonic::body::Body::new))
            }))
        };
        started.run(EitherCall { kind, charge: Some((connection.budget.clone(), in_progress)) })
    }
}

/// Whether the content type is that of gRPC: `application/grpc`, also with a suffix such as `+proto`. gRPC-Web frames
/// its messages otherwise.
fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    content_type.split_at_checked(CONTENT_TYPE.len()).is_some_and(|(name, suffix)| {
        name.eq_ignore_ascii_case(CONTENT_TYPE) && matches!(suffix.first(), None | Some(b'+' | b';'))
    })
}

/// Returns the response to a request that is no call of gRPC. Other servers send the same.
fn unsupported<B: Default>() -> Response<B> {
    let mut response = Status::invalid_argument("the content type must be application/grpc").into_http();
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

/// A call of a raw method or of tonic's routes.
pub struct EitherCall<R, C> {
    kind: CallKind<R, C>,
    /// What the response is charged to; `None` for a refused call, which has no body.
    charge: Option<(ConnectionBudget, Counted)>,
}

enum CallKind<R, C> {
    /// It is no call of gRPC, or the connection has too many.
    Refused(Option<Response<EitherBody<R, C>>>),
    /// A call of a raw method.
    Raw(RawCall<R, C>),
    /// A call of tonic's routes.
    Tonic(Pin<Box<dyn Future<Output = Result<Response<tonic::body::Body>, BoxError>> + Send>>),
}

impl<R, C> Future for EitherCall<R, C>
where
    R: Body<Data = Bytes> + Unpin,
    R::Error: Into<BoxError>,
    C: Send + Unpin + 'static,
{
    type Output = Result<Response<ChargedBody<EitherBody<R, C>>>, BoxError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let response = match &mut this.kind {
            CallKind::Refused(response) => response.take().unwrap_or_default(),
            CallKind::Raw(call) => ready!(Pin::new(call).poll(context)).map(EitherBody::Raw),
            CallKind::Tonic(call) => ready!(call.as_mut().poll(context))?.map(EitherBody::Tonic),
        };
        let is_made = matches!(this.kind, CallKind::Tonic(_));
        Poll::Ready(Ok(response.map(|body| match this.charge.take() {
            Some((budget, in_progress)) => {
                let body = ChargedBody::new(body, budget, in_progress);
                // A raw method makes its response when the connection has room for it, a handler before that.
                if is_made { body.charge_first() } else { body }
            }
            None => ChargedBody::default(),
        })))
    }
}

/// The response body of a call of either kind.
pub enum EitherBody<R, C> {
    /// The body of a raw method.
    Raw(ResponseBody<R, C>),
    /// The body of tonic's routes.
    Tonic(tonic::body::Body),
}

impl<R, C> Default for EitherBody<R, C> {
    fn default() -> Self {
        Self::Raw(ResponseBody::default())
    }
}

impl<R: Body<Data = Bytes> + Unpin, C: Unpin + 'static> Body for EitherBody<R, C> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Raw(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Tonic(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Raw(body) => body.is_end_stream(),
            Self::Tonic(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Raw(body) => body.size_hint(),
            Self::Tonic(body) => body.size_hint(),
        }
    }
}
