//! One question, or one batch of them, as a call.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use tonic::Status;

use super::answer::USUAL_BYTES;
use super::door::{Piece, Questions, Said};
use super::message::{self, BATCH_BYTES_MAX, Gathered, QUESTION_BYTES_MAX};
use crate::auth::permit::Credential;
use crate::rpc::errors::RpcError;

/// Which of the two it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Method {
    Verify,
    BatchVerify,
}

/// Who asks what.
pub(super) struct Ask {
    pub(super) questions: Arc<Questions>,
    pub(super) credential: Result<Credential, RpcError>,
    pub(super) method: Method,
}

pin_project! {
    /// The call: reads its one message and answers it.
    pub(super) struct Unary<B> {
        #[pin]
        body: B,
        gathered: Gathered,
        ask: Option<Ask>,
        has_yielded: bool,
    }
}

impl<B> Unary<B> {
    pub(super) fn new(body: B, ask: Ask) -> Self {
        Self { body, gathered: Gathered::default(), ask: Some(ask), has_yielded: false }
    }
}

impl<B: Body<Data = Bytes>> Future for Unary<B> {
    type Output = Result<Vec<u8>, Status>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let is_batch = this.ask.as_ref().is_some_and(|ask| matches!(ask.method, Method::BatchVerify));
        // A batch takes as long as a thousand questions: as a task of its own, it does not hold up the connection's other
        // calls, nor many of them everybody's.
        if is_batch && !std::mem::replace(this.has_yielded, true) {
            // Nor does it gather megabytes for somebody who will not be answered.
            *this.ask = this.ask.take().map(Ask::of_the_known).transpose()?;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let max = if is_batch { BATCH_BYTES_MAX } else { QUESTION_BYTES_MAX };
        while !this.body.is_end_stream() {
            match ready!(this.body.as_mut().poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(part) = frame.into_data() {
                        this.gathered.add(part);
                        let bytes = this.gathered.bytes();
                        // Nothing belongs behind the message. It is not gathered, since it may have no end.
                        if message::first(bytes, max)?.is_some_and(|(_, len)| len < bytes.len()) {
                            return Poll::Ready(Err(crate::rpc::decode_errors::unframed().into()));
                        }
                    }
                }
                Some(Err(_)) => return Poll::Ready(Err(Status::cancelled("the call was broken off"))),
                None => break,
            }
        }
        let bytes = this.gathered.bytes();
        let whole = message::first(bytes, max)?.filter(|(_, len)| *len == bytes.len());
        let (Some((message, _)), Some(ask)) = (whole, this.ask.take()) else {
            return Poll::Ready(Err(crate::rpc::decode_errors::unframed().into()));
        };
        Poll::Ready(ask.answer(message).map_err(Status::from))
    }
}

impl Ask {
    /// The same, if its caller is known.
    fn of_the_known(self) -> Result<Self, RpcError> {
        let credential = self.credential?;
        self.questions.callers.know(&credential)?;
        Ok(Self { credential: Ok(credential), ..self })
    }

    fn answer(self, message: &[u8]) -> Result<Vec<u8>, RpcError> {
        let Self { questions, credential, method } = self;
        let permit = questions.callers.authorize_verify(&credential?)?;
        let mut out = Vec::with_capacity(USUAL_BYTES);
        message::append(&mut out, |out| match method {
            Method::Verify => questions.verifier.verify(&permit, message, out),
            Method::BatchVerify => questions.verifier.batch_verify(&permit, message, out),
        })?;
        Ok(out)
    }
}

/// The answer as the response to a call.
pub(super) fn respond(answer: Result<Vec<u8>, Status>) -> Response<Said> {
    match answer {
        Ok(message) => response(Said(Piece::Unary(Some(message.into())))),
        Err(status) => status.into_http(),
    }
}

/// The response to a call that is answered with `said`.
pub(super) fn response(said: Said) -> Response<Said> {
    let mut response = Response::new(said);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The end of a call that was answered.
pub(super) fn end() -> Frame<Bytes> {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    Frame::trailers(trailers)
}
