//! Many questions on one stream.
//!
//! As many answers as there are questions in what has arrived go into one piece of the response. While the peer does not
//! read its answers, nothing is asked of it: flow control holds up this stream, and no other.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;

use super::door::Questions;
use super::message::{self, Gathered, QUESTION_BYTES_MAX};
use super::unary;
use crate::auth::permit::Credential;

/// When a piece of answers is sent at the latest: a frame of HTTP/2.
const PIECE_BYTES: usize = 16 * 1024;
/// How many questions are decided together at most. More would not be faster, and their answers are in memory at once.
const TOGETHER_MAX: usize = 64;

/// The answers.
pub(super) struct Answers {
    questions: Arc<Questions>,
    credential: Credential,
    asked: Incoming,
    gathered: Gathered,
    /// Told when the server ends: then the stream does, in order.
    ending: Pin<Box<WaitForCancellationFutureOwned>>,
    is_over: bool,
    end: Option<Status>,
}

impl Answers {
    pub(super) fn new(questions: Arc<Questions>, credential: Credential, asked: Incoming) -> Self {
        let ending = Box::pin(questions.ending.clone().cancelled_owned());
        Self { questions, credential, asked, gathered: Gathered::default(), ending, is_over: false, end: None }
    }

    /// Answers what has arrived whole.
    fn answer(&mut self, out: &mut Vec<u8>) -> Result<(), Status> {
        while out.len() < PIECE_BYTES {
            let (mut messages, mut len) = (Vec::new(), 0);
            while messages.len() < TOGETHER_MAX {
                let rest = self.gathered.bytes().get(len..).unwrap_or_default();
                match message::first(rest, QUESTION_BYTES_MAX) {
                    Ok(Some((message, taken))) => {
                        messages.push(message);
                        len += taken;
                    }
                    Err(status) if messages.is_empty() => return Err(status),
                    // What is wrong comes when those before it are answered.
                    Ok(None) | Err(_) => break,
                }
            }
            if messages.is_empty() {
                return Ok(());
            }
            let Questions { callers, verifier, .. } = &*self.questions;
            verifier.verify_on_stream(callers, &self.credential, &messages, out)?;
            self.gathered.advance(len);
        }
        Ok(())
    }

    /// Reads and answers until there is nothing more to read, or a piece is full.
    fn fill(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> Result<(), Status> {
        loop {
            self.answer(out)?;
            if out.len() >= PIECE_BYTES {
                return Ok(());
            }
            match Pin::new(&mut self.asked).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(part) = frame.into_data() {
                        self.gathered.add(part);
                    }
                }
                Poll::Ready(Some(Err(_))) => return Err(Status::cancelled("the stream was broken off")),
                Poll::Ready(None) => {
                    self.is_over = true;
                    let is_whole = self.gathered.bytes().is_empty();
                    return if is_whole { Ok(()) } else { Err(crate::rpc::decode_errors::unframed().into()) };
                }
                Poll::Pending => return Ok(()),
            }
        }
    }
}

impl Body for Answers {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut out = Vec::new();
        if !self.is_over {
            self.is_over = self.ending.as_mut().poll(context).is_ready();
        }
        if !self.is_over
            && let Err(status) = self.fill(context, &mut out)
        {
            self.is_over = true;
            self.end = Some(status);
        }
        if !out.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(out.into()))));
        }
        if !self.is_over {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(self.end.take().map_or_else(unary::end, |status| refusal(&status)))))
    }
}

fn refusal(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    // It fails only for a message that is no header value; ours are constants.
    let _ = status.add_header(&mut trailers);
    Frame::trailers(trailers)
}
