//! The way of the three questions past the general machinery.
//!
//! A Verify is decided in a fraction of a microsecond, and the general way from HTTP/2 to a handler and back costs several
//! times that: a router, boxed futures and bodies, metadata, buffers for messages that are read in one piece. So the
//! service of a connection looks at the path, and answers these three itself, with the same metrics and deadlines.
//! Everything else, and every question while calls are traced, goes the general way, to the same functions.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method as HttpMethod, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use tokio_util::sync::CancellationToken;
use tower::util::ServiceExt as _;

use super::Verifier;
use super::stream::Answers;
use super::unary::{self, Ask, Method, Unary};
use crate::auth::permit::{Callers, Credential};
use crate::observability::metrics::{CallMetricsLayer, CallSeries, ObservedBody, ObservedFuture};
use crate::rpc::deadline::{DeadlineBody, DeadlineFuture, Deadlines};
use crate::rpc::errors::RpcError;
use crate::transport::listener::BoxError;

const VERIFY: &str = "/keyauthority.v1.KeyAuthority/Verify";
const BATCH_VERIFY: &str = "/keyauthority.v1.KeyAuthority/BatchVerify";
const VERIFY_STREAM: &str = "/keyauthority.v1.KeyAuthority/VerifyStream";

/// What answers questions, with all that belongs to it.
pub struct Questions {
    pub(super) callers: Arc<Callers>,
    pub(super) verifier: Arc<Verifier>,
    pub(super) ending: CancellationToken,
    deadlines: Deadlines,
    verify: CallSeries,
    batch_verify: CallSeries,
    verify_stream: CallSeries,
}

impl Questions {
    /// Answers by `verifier` for `callers`. Its streams end, in order, when `ending` is cancelled.
    #[must_use]
    pub fn new(
        callers: Arc<Callers>,
        verifier: Arc<Verifier>,
        deadlines: Deadlines,
        calls: &CallMetricsLayer,
        ending: CancellationToken,
    ) -> Self {
        let [verify, batch_verify, verify_stream] =
            [VERIFY, BATCH_VERIFY, VERIFY_STREAM].map(|path| calls.series(path));
        Self { callers, verifier, ending, deadlines, verify, batch_verify, verify_stream }
    }
}

/// The service of one connection: answers questions, and leaves all else to `G`.
pub struct Door<G> {
    questions: Option<Arc<Questions>>,
    address: Option<IpAddr>,
    /// The caller of the last call. Nearly all calls of a connection are of one caller, whose token need not be read again.
    last: Mutex<Option<(HeaderValue, Credential)>>,
    general: G,
}

impl<G> Door<G> {
    /// The service of a connection from `address`. Without `questions`, everything goes the general way.
    pub fn new(questions: Option<Arc<Questions>>, address: Option<IpAddr>, general: G) -> Self {
        Self { questions, address, last: Mutex::new(None), general }
    }

    fn credential(&self, callers: &Callers, headers: &HeaderMap) -> Result<Credential, RpcError> {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return callers.credential(headers, self.address) };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, credential)) = last.as_ref().filter(|(known, _)| known == value) {
            return Ok(credential.clone());
        }
        let credential = callers.credential(headers, self.address)?;
        *last = Some((value.clone(), credential.clone()));
        Ok(credential)
    }

    fn answer(&self, questions: &Arc<Questions>, kind: Question, request: Request<Incoming>) -> Answering {
        let credential = self.credential(&questions.callers, request.headers());
        let deadline = questions.deadlines.of(request.headers(), matches!(kind, Question::VerifyStream));
        let body = request.into_body();
        let unary = |method, credential, body| {
            Kind::Unary(Unary::new(body, Ask { questions: Arc::clone(questions), credential, method }))
        };
        let (series, call) = match kind {
            Question::Verify => (&questions.verify, unary(Method::Verify, credential, body)),
            Question::BatchVerify => (&questions.batch_verify, unary(Method::BatchVerify, credential, body)),
            Question::VerifyStream => {
                (&questions.verify_stream, Kind::Stream(Some(begin(questions, credential, body))))
            }
        };
        series.observe(DeadlineFuture::new(Call(call), deadline))
    }
}

/// Which of the three it is.
#[derive(Clone, Copy)]
enum Question {
    Verify,
    BatchVerify,
    VerifyStream,
}

impl Question {
    /// None for everything else, and for a message that is compressed: the general way says what it thinks of that.
    fn of<B>(request: &Request<B>) -> Option<Self> {
        let is_plain = request.headers().get("grpc-encoding").is_none_or(|encoding| encoding == "identity");
        if request.method() != HttpMethod::POST || !is_plain {
            return None;
        }
        match request.uri().path() {
            VERIFY => Some(Self::Verify),
            BATCH_VERIFY => Some(Self::BatchVerify),
            VERIFY_STREAM => Some(Self::VerifyStream),
            _ => None,
        }
    }
}

/// Begins a stream. A caller who may not ask is told at once.
fn begin(questions: &Arc<Questions>, credential: Result<Credential, RpcError>, body: Incoming) -> Response<Said> {
    let permitted =
        credential.and_then(|credential| questions.callers.authorize_verify(&credential).map(|_| credential));
    match permitted {
        Ok(credential) => {
            unary::response(Said(Piece::Stream(Box::new(Answers::new(Arc::clone(questions), credential, body)))))
        }
        Err(failure) => unary::respond(Err(failure.into())),
    }
}

impl<G, B> Service<Request<Incoming>> for Door<G>
where
    G: tower::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    G::Future: Send,
    G::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<AnyBody>;
    type Error = BoxError;
    type Future = AnyCall;

    fn call(&self, request: Request<Incoming>) -> AnyCall {
        if let (Some(questions), Some(kind)) = (&self.questions, Question::of(&request)) {
            return AnyCall::Question(self.answer(questions, kind, request));
        }
        let call = self.general.clone().oneshot(request);
        AnyCall::General(Box::pin(async {
            call.await.map(|response| response.map(tonic::body::Body::new)).map_err(Into::into)
        }))
    }
}

type Answering = ObservedFuture<DeadlineFuture<Call>>;
type Answered = ObservedBody<DeadlineBody<Said>>;

/// A call on either way.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and not worth an allocation")]
pub enum AnyCall {
    /// One of the three.
    Question(Answering),
    /// Anything else.
    General(Pin<Box<dyn Future<Output = Result<Response<tonic::body::Body>, BoxError>> + Send>>),
}

impl Future for AnyCall {
    type Output = Result<Response<AnyBody>, BoxError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Question(call) => Pin::new(call).poll(context).map_ok(|response| response.map(AnyBody::Question)),
            Self::General(call) => call.as_mut().poll(context).map_ok(|response| response.map(AnyBody::General)),
        }
    }
}

/// The response of a call on either way.
pub enum AnyBody {
    /// Of one of the three.
    Question(Answered),
    /// Of anything else.
    General(tonic::body::Body),
}

impl Body for AnyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Question(body) => Pin::new(body).poll_frame(context),
            Self::General(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Question(body) => body.is_end_stream(),
            Self::General(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Question(body) => body.size_hint(),
            Self::General(body) => body.size_hint(),
        }
    }
}

/// A call of one of the three.
pub struct Call(Kind);

enum Kind {
    Unary(Unary<Incoming>),
    Stream(Option<Response<Said>>),
}

impl Future for Call {
    type Output = Result<Response<Said>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Kind::Unary(call) => Pin::new(call).poll(context).map(|answer| Ok(unary::respond(answer))),
            Kind::Stream(response) => Poll::Ready(response.take().ok_or_else(|| "polled after its end".into())),
        }
    }
}

/// The body of an answer.
#[derive(Default)]
pub struct Said(pub(super) Piece);

#[derive(Default)]
pub(super) enum Piece {
    /// A status alone.
    #[default]
    Nothing,
    /// One message, until it is sent, and the end.
    Unary(Option<Bytes>),
    /// Messages without end.
    Stream(Box<Answers>),
}

impl Body for Said {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().0 {
            Piece::Nothing => Poll::Ready(None),
            Piece::Unary(message) => Poll::Ready(Some(Ok(message.take().map_or_else(unary::end, Frame::data)))),
            Piece::Stream(answers) => Pin::new(&mut **answers).poll_frame(context).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Piece::Nothing)
    }
}
