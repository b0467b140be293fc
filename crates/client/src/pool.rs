//! The streams that can take questions now, and the choice among them.
//!
//! A stream is ready while it is open and its replica is healthy. When a stream ends, this order keeps a retry off it:
//!
//! - `t0` The stream ends.
//! - `t1` Its session marks the endpoint unready.
//! - `t2` The session drops the pending calls. Their callers see [`StreamHandle::call`] return `None`.
//! - `t3` The callers pick again, and do not find the ended stream.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use key_authority_proto::v1;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{Error, SharedError};
use crate::question::Question;
use crate::replica_error::{EndpointError, ReplicaError};

/// The outcome of one question on a stream.
pub(crate) type CallOutcome = Result<v1::VerifyResponse, v1::StreamError>;

/// A question that waits to be sent.
#[derive(Debug)]
pub(crate) struct PendingCall {
    pub(crate) question: Question,
    pub(crate) responder: Responder,
}

/// Where the outcome of a call goes. When it is dropped, the caller learns that there is none.
#[derive(Debug)]
pub(crate) struct Responder {
    sender: oneshot::Sender<CallOutcome>,
    /// Counts for the load until the replica has answered, even when the caller has stopped waiting: a replica that
    /// owes an answer is as busy as before.
    _in_flight: Arc<()>,
}

impl Responder {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.sender.is_closed()
    }

    pub(crate) fn respond(self, outcome: CallOutcome) {
        // An error means that the caller has stopped waiting.
        let _ = self.sender.send(outcome);
    }
}

/// The sending side of one stream.
#[derive(Debug, Clone)]
pub(crate) struct StreamHandle {
    /// The position of its endpoint in the order in which the builder got them.
    pub(crate) endpoint: usize,
    /// Unbounded, because each entry stands for a caller that waits anyway. In a bounded queue, a caller that got a
    /// slot and is not polled would block all callers after it.
    calls: mpsc::UnboundedSender<PendingCall>,
    /// One clone per call and per caller that picked this stream. The number of clones is the load.
    in_flight: Arc<()>,
}

impl StreamHandle {
    pub(crate) fn new(endpoint: usize, calls: mpsc::UnboundedSender<PendingCall>) -> Self {
        Self { endpoint, calls, in_flight: Arc::new(()) }
    }

    /// Sends a question and waits for its outcome. Returns `None` when the stream ends first.
    pub(crate) async fn call(&self, question: Question) -> Option<CallOutcome> {
        let (sender, outcome) = oneshot::channel();
        let responder = Responder { sender, _in_flight: Arc::clone(&self.in_flight) };
        self.calls.send(PendingCall { question, responder }).ok()?;
        outcome.await.ok()
    }

    fn load(&self) -> usize {
        Arc::strong_count(&self.in_flight)
    }
}

#[derive(Debug, Default)]
struct ReadySet {
    streams: Vec<StreamHandle>,
    /// The message of the authority, while it rejects this service.
    caller_rejection: Option<String>,
}

/// All streams that are ready.
#[derive(Debug)]
pub(crate) struct Pool {
    /// The URLs of the endpoints, for error texts.
    endpoints: Vec<String>,
    ready: watch::Sender<ReadySet>,
    /// Where the next round-robin search begins.
    next_start: AtomicUsize,
    last_error: Mutex<Option<SharedError>>,
}

impl Pool {
    pub(crate) fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            ready: watch::Sender::default(),
            next_start: AtomicUsize::new(0),
            last_error: Mutex::default(),
        }
    }

    /// Lets questions go to a stream. It replaces an earlier stream of the same endpoint.
    pub(crate) fn mark_ready(&self, stream: &StreamHandle) {
        self.ready.send_modify(|ready| {
            ready.streams.retain(|other| other.endpoint != stream.endpoint);
            ready.streams.push(stream.clone());
            ready.caller_rejection = None;
        });
    }

    /// Lets no more questions go to an endpoint.
    pub(crate) fn mark_unready(&self, endpoint: usize) {
        self.ready.send_if_modified(|ready| {
            let len = ready.streams.len();
            ready.streams.retain(|stream| stream.endpoint != endpoint);
            ready.streams.len() < len
        });
    }

    /// Fails questions that find no ready stream, until one is ready again: the authority rejects this service.
    pub(crate) fn reject_caller(&self, message: &str) {
        self.ready.send_modify(|ready| ready.caller_rejection = Some(message.to_owned()));
    }

    pub(crate) fn is_any_ready(&self) -> bool {
        !self.ready.borrow().streams.is_empty()
    }

    /// Waits until a stream is ready, and returns the one with the lowest load. Equal loads are served round-robin. The
    /// endpoint `avoided` is chosen only when no other is ready.
    pub(crate) async fn pick(&self, avoided: Option<usize>) -> Result<StreamHandle, Error> {
        let start = self.next_start.fetch_add(1, Ordering::Relaxed);
        // The fast path needs no subscription.
        if let Some(picked) = pick_from(&self.ready.borrow(), start, avoided) {
            return picked;
        }
        let mut changes = self.ready.subscribe();
        loop {
            if let Some(picked) = pick_from(&changes.borrow_and_update(), start, avoided) {
                return picked;
            }
            if changes.changed().await.is_err() {
                // Unreachable: `self` owns the sender.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Keeps the failure of an endpoint, as the source of a later [`Error`].
    pub(crate) fn record_error(&self, endpoint: usize, source: ReplicaError) {
        let endpoint = self.endpoints.get(endpoint).cloned().unwrap_or_default();
        let error = EndpointError { endpoint, source };
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(error));
    }

    /// The last failure of any endpoint.
    pub(crate) fn last_error(&self) -> Option<SharedError> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Returns `None` when the caller must wait.
fn pick_from(ready: &ReadySet, start: usize, avoided: Option<usize>) -> Option<Result<StreamHandle, Error>> {
    let count = ready.streams.len();
    let Some(first) = start.checked_rem(count) else {
        return ready.caller_rejection.clone().map(|message| Err(Error::CallerRejected { message }));
    };
    let in_turn = ready.streams.iter().cycle().skip(first).take(count);
    let is_avoided = |stream: &StreamHandle| avoided == Some(stream.endpoint);
    in_turn.min_by_key(|stream| (is_avoided(stream), stream.load())).cloned().map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(endpoint: usize) -> StreamHandle {
        StreamHandle::new(endpoint, mpsc::unbounded_channel().0)
    }

    fn ready_pool(count: usize) -> Pool {
        let pool = Pool::new(Vec::new());
        (0..count).for_each(|endpoint| pool.mark_ready(&stream(endpoint)));
        pool
    }

    async fn picks(pool: &Pool, count: usize, avoided: Option<usize>) -> Vec<usize> {
        let mut endpoints = Vec::new();
        for _ in 0..count {
            endpoints.push(pool.pick(avoided).await.unwrap().endpoint);
        }
        endpoints
    }

    #[tokio::test]
    async fn equal_loads_are_served_round_robin() {
        assert_eq!(picks(&ready_pool(3), 6, None).await, [0, 1, 2, 0, 1, 2]);
    }

    #[tokio::test]
    async fn the_stream_with_the_lowest_load_is_picked() {
        let pool = ready_pool(2);
        let waiting = [pool.pick(Some(1)).await.unwrap(), pool.pick(Some(1)).await.unwrap()];
        assert_eq!(waiting.iter().map(|stream| stream.endpoint).collect::<Vec<_>>(), [0, 0]);
        assert_eq!(picks(&pool, 3, None).await, [1, 1, 1]);
        drop(waiting);
        assert!(picks(&pool, 2, None).await.contains(&0));
    }

    #[tokio::test]
    async fn the_avoided_endpoint_is_picked_when_no_other_is_ready() {
        let pool = ready_pool(2);
        assert_eq!(picks(&pool, 3, Some(0)).await, [1, 1, 1]);
        pool.mark_unready(1);
        assert_eq!(picks(&pool, 2, Some(0)).await, [0, 0]);
    }

    #[tokio::test]
    async fn without_a_ready_stream_a_pick_waits_for_one_or_for_a_rejection() {
        let pool = Pool::new(Vec::new());
        let (picked, ()) = tokio::join!(pool.pick(None), async { pool.mark_ready(&stream(7)) });
        assert_eq!(picked.unwrap().endpoint, 7);
        pool.mark_unready(7);
        let (picked, ()) = tokio::join!(pool.pick(None), async { pool.reject_caller("unknown caller") });
        assert!(matches!(picked, Err(Error::CallerRejected { message }) if message == "unknown caller"));
        pool.mark_ready(&stream(7));
        assert!(pool.pick(None).await.is_ok(), "a ready stream ends the rejection");
    }

    #[tokio::test]
    async fn a_call_on_an_ended_stream_has_no_outcome() {
        assert!(stream(0).call(Question::new("t")).await.is_none());
    }

    #[test]
    fn a_recorded_error_names_its_endpoint() {
        let pool = Pool::new(vec!["http://a".to_owned(), "http://b".to_owned()]);
        pool.record_error(1, ReplicaError::NotServing);
        let text = key_authority_text_io::error_chain::whole(&pool.last_error().unwrap());
        assert_eq!(text, "replica http://b failed: health status is not SERVING");
    }
}
