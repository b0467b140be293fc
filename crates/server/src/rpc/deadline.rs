//! Deadlines: the time limit of a call, and the response when it is exceeded.
//!
//! A unary call gets the client's `grpc-timeout`, or the configured time if the client sets none, and never more than
//! the configured time. After it, the response is `DEADLINE_EXCEEDED`, and the handler is dropped. A streaming call has
//! only the client's own deadline, but its response must begin within the configured time: it begins as soon as the
//! request is complete. Handlers find the deadline as a [`Deadline`] in the request's extensions.
//!
//! The deadline wraps everything that could be slow, and is inside the metrics. It never decides whether the dropped
//! work had an effect: a mutation that is dropped during its commit may be committed, and repeating it with the same
//! `request_id` shows the outcome.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

use crate::rpc::errors::RpcError;
use crate::rpc::trailers;

/// The longest `grpc-timeout` that is honored. A longer one is as good as none, and its sum with the current time could
/// overflow.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// The deadline of a call, as a request extension; absent if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// Returns the deadline `allowed` from now.
    #[must_use]
    pub fn after(allowed: Duration) -> Self {
        Self(now() + allowed)
    }

    /// Returns the remaining time; zero after the deadline.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(now())
    }
}

/// The clock of tokio's timers, on which deadlines run.
#[expect(
    clippy::disallowed_methods,
    reason = "a deadline is an instant of tokio's timer; no rule about keys depends on it"
)]
fn now() -> Instant {
    Instant::now()
}

/// Returns the status of a call that exceeded its deadline.
fn exceeded() -> Status {
    RpcError::DeadlineExceeded.into()
}

/// Parses `grpc-timeout`: at most eight digits and a unit. A value that does not parse counts as absent, as in every
/// gRPC server.
fn client_timeout(headers: &HeaderMap) -> Option<Duration> {
    let (unit, digits) = headers.get("grpc-timeout")?.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// The deadlines of one call.
#[derive(Debug, Clone, Copy)]
pub struct CallDeadlines {
    /// The deadline of the whole call; `None` for a stream whose client sets none.
    pub call: Option<Deadline>,
    /// The time until which its response must begin.
    response: Deadline,
}

/// Computes the deadlines of calls.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    unary_longest: Duration,
}

impl Deadlines {
    /// `unary_longest` is the deadline of unary calls that set none, and the maximum for those that do.
    #[must_use]
    pub fn new(unary_longest: Duration) -> Self {
        Self { unary_longest }
    }

    /// Returns the deadlines of a call with these headers that arrives now.
    #[must_use]
    pub fn of(&self, headers: &HeaderMap, is_streaming: bool) -> CallDeadlines {
        let now = now();
        let call = self.time_allowed(headers, is_streaming).map(|allowed| Deadline(now + allowed));
        let latest = Deadline(now + self.unary_longest);
        CallDeadlines { call, response: call.map_or(latest, |call| Deadline(call.0.min(latest.0))) }
    }

    fn time_allowed(&self, headers: &HeaderMap, is_streaming: bool) -> Option<Duration> {
        let requested = client_timeout(headers);
        if is_streaming {
            requested.map(|requested| requested.min(LONGEST))
        } else {
            Some(requested.map_or(self.unary_longest, |requested| requested.min(self.unary_longest)))
        }
    }
}

pin_project! {
    /// A call before its response headers.
    #[derive(Debug)]
    pub struct DeadlineFuture<F> {
        #[pin]
        inner: F,
        deadlines: CallDeadlines,
        // Made when the inner future first has to wait: a Verify that answers at once never touches the timer wheel.
        sleep: Option<Pin<Box<Sleep>>>,
    }
}

impl<F> DeadlineFuture<F> {
    pub(crate) fn new(inner: F, deadlines: CallDeadlines) -> Self {
        Self { inner, deadlines, sleep: None }
    }
}

impl<F, ResBody, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: Default,
{
    type Output = Result<Response<DeadlineBody<ResBody>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(result) = this.inner.poll(context) {
            let (deadline, sleep) = (this.deadlines.call, None);
            return Poll::Ready(
                result.map(|response| response.map(|inner| DeadlineBody { inner, deadline, sleep, is_over: false })),
            );
        }
        let Deadline(instant) = this.deadlines.response;
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(instant)));
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Ok(exceeded().into_http()))
    }
}

pin_project! {
    /// A call between its response headers and the end of its response.
    #[derive(Debug)]
    pub struct DeadlineBody<B> {
        #[pin]
        inner: B,
        deadline: Option<Deadline>,
        sleep: Option<Pin<Box<Sleep>>>,
        is_over: bool,
    }
}

impl<B: Default> Default for DeadlineBody<B> {
    fn default() -> Self {
        Self { inner: B::default(), deadline: None, sleep: None, is_over: false }
    }
}

impl<B: Body> Body for DeadlineBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        if *this.is_over {
            return Poll::Ready(None);
        }
        if let ready @ Poll::Ready(_) = this.inner.poll_frame(context) {
            return ready;
        }
        let Some(Deadline(instant)) = *this.deadline else { return Poll::Pending };
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(instant)));
        ready!(sleep.as_mut().poll(context));
        *this.is_over = true;
        Poll::Ready(Some(Ok(trailers::error(&exceeded()))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::poll_fn;
    use http::HeaderName;
    use std::convert::Infallible;
    use tonic::Code;
    use tonic::body::Body as TonicBody;
    use tonic_types::StatusExt as _;

    /// A body that never produces a frame.
    struct Silence;

    impl Body for Silence {
        type Data = bytes::Bytes;
        type Error = Status;
        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
            Poll::Pending
        }
    }

    fn deadlines() -> Deadlines {
        Deadlines::new(Duration::from_secs(30))
    }

    fn headers(timeout: Option<&str>) -> HeaderMap {
        timeout.map(|timeout| (HeaderName::from_static("grpc-timeout"), timeout.parse().unwrap())).into_iter().collect()
    }

    #[test]
    fn every_unit_is_read_and_nonsense_counts_as_absent() {
        let read = |value: &str| client_timeout(&headers(Some(value)));
        assert_eq!(read("2H"), Some(Duration::from_hours(2)));
        assert_eq!(read("2M"), Some(Duration::from_mins(2)));
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("2m"), Some(Duration::from_millis(2)));
        assert_eq!(read("2u"), Some(Duration::from_micros(2)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for nonsense in ["", "S", "123456789S", "+1S", "1s", "1.5S", "-1S", "1 S"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_unary_call_is_capped_and_a_stream_is_not() {
        let allowed = |is_streaming, timeout| deadlines().time_allowed(&headers(timeout), is_streaming);
        assert_eq!(allowed(false, None), Some(Duration::from_secs(30)));
        assert_eq!(allowed(false, Some("5S")), Some(Duration::from_secs(5)));
        assert_eq!(allowed(false, Some("1H")), Some(Duration::from_secs(30)));
        assert_eq!(allowed(true, None), None);
        assert_eq!(allowed(true, Some("1H")), Some(Duration::from_hours(1)));
        assert_eq!(allowed(true, Some("99999999H")), Some(LONGEST));
    }

    #[tokio::test]
    async fn a_slow_unary_call_ends_with_deadline_exceeded() {
        let deadline = deadlines().of(&headers(Some("2m")), false);
        assert!(deadline.call.unwrap().remaining() <= Duration::from_millis(2));
        let call = std::future::pending::<Result<Response<TonicBody>, Infallible>>();
        let response = DeadlineFuture::new(call, deadline).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(status.get_details_error_info().unwrap().reason, "DEADLINE_EXCEEDED");
        assert!(response.body().is_end_stream());
    }

    #[tokio::test(start_paused = true)]
    async fn the_response_of_a_stream_begins_in_time() {
        let deadlines = deadlines().of(&headers(None), true);
        assert_eq!(deadlines.call, None);
        let call = std::future::pending::<Result<Response<TonicBody>, Infallible>>();
        let response = DeadlineFuture::new(call, deadlines).await.unwrap();
        assert_eq!(Status::from_header_map(response.headers()).unwrap().code(), Code::DeadlineExceeded);
    }

    #[tokio::test]
    async fn a_stream_ends_at_the_deadline_of_its_client() {
        let deadline = deadlines().of(&headers(Some("2m")), true);
        let call = std::future::ready(Ok::<_, Infallible>(Response::new(TonicBody::new(Silence))));
        let response = DeadlineFuture::new(call, deadline).await.unwrap();
        let mut body = std::pin::pin!(response.into_body());
        let frame = poll_fn(|context| body.as_mut().poll_frame(context)).await.unwrap().unwrap();
        let status = Status::from_header_map(frame.trailers_ref().unwrap()).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(poll_fn(|context| body.as_mut().poll_frame(context)).await.is_none());
    }
}
