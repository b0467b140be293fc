//! One connection to one replica: a stream of questions, and a watch on the replica's health.
//!
//! Responses arrive in any order; the `id` of a response names its question. When the stream ends, pending questions
//! are dropped and their callers repeat them on another stream. That is safe because Verify changes nothing, and a
//! later answer is never older than an earlier one.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use key_authority_proto::v1;
use key_authority_proto::v1::key_authority_client::KeyAuthorityClient;
use key_authority_proto::v1::verify_stream_response::Outcome;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status, Streaming};

use crate::backoff::jittered;
use crate::pool::{PendingCall, Pool, Responder, StreamHandle};
use crate::replica_error::ReplicaError;

mod health;

use health::Health;

/// The most questions in flight on one stream. More wait in the queue.
const IN_FLIGHT_MAX: usize = 1024;
/// The longest life of a session. A new one spreads connections over the replicas behind one DNS name, and uses a
/// renewed token of this service.
const AGE_MAX: Duration = Duration::from_mins(5);
/// How long a closing session waits for responses. A response that takes longer counts as lost, and a longer wait would
/// delay the next session with this replica.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// An open connection.
///
/// It closes in this order:
///
/// - `t0` There is a reason to close: age, the end of the health watch, or a rejected token of this service.
/// - `t1` [`Session::close`] marks the endpoint unready and closes the queue. No caller can add a question.
/// - `t2` [`Session::drain`] sends what is queued, and waits for the responses up to [`DRAIN_TIMEOUT`].
/// - `t3` [`Session::run`] drops the pending calls. Their callers retry elsewhere.
pub(crate) struct Session {
    stream: StreamHandle,
    calls: mpsc::UnboundedReceiver<PendingCall>,
    requests: mpsc::Sender<v1::VerifyStreamRequest>,
    responses: Streaming<v1::VerifyStreamResponse>,
    health: Health,
    in_flight: HashMap<u64, Responder>,
    last_id: u64,
    has_answered: bool,
    is_closing: bool,
}

/// How a session ended.
#[derive(Debug)]
pub(crate) struct SessionEnd {
    /// Whether the replica answered at least one question.
    pub(crate) has_answered: bool,
    /// `None` when the stream ended in good order.
    pub(crate) status: Option<Status>,
}

impl Session {
    /// Connects to an endpoint, opens the stream, and starts to watch the health.
    pub(crate) async fn open(
        index: usize,
        endpoint: &Endpoint,
        authorization: Option<MetadataValue<Ascii>>,
    ) -> Result<Self, ReplicaError> {
        let channel = endpoint.connect().await?;
        // It never fills up: each entry is in flight, and `IN_FLIGHT_MAX` limits those.
        let (requests, outgoing) = mpsc::channel(IN_FLIGHT_MAX);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        if let Some(authorization) = authorization {
            request.metadata_mut().insert("authorization", authorization);
        }
        let responses = KeyAuthorityClient::new(channel.clone()).verify_stream(request).await?.into_inner();
        #[cfg(feature = "health")]
        let health = Health::watch(channel).await?;
        #[cfg(not(feature = "health"))]
        let health = Health::Assumed;
        let (sender, calls) = mpsc::unbounded_channel();
        Ok(Self {
            stream: StreamHandle::new(index, sender),
            calls,
            requests,
            responses,
            health,
            in_flight: HashMap::new(),
            last_id: 0,
            has_answered: false,
            is_closing: false,
        })
    }

    /// Serves calls until the stream ends.
    pub(crate) async fn run(mut self, pool: &Pool) -> SessionEnd {
        let mut status = self.serve(pool).await;
        if self.is_closing {
            status = timeout(DRAIN_TIMEOUT, self.drain(pool)).await.unwrap_or_default();
        }
        // Before `self` drops the pending calls: their callers must not pick this stream again.
        pool.mark_unready(self.stream.endpoint);
        SessionEnd { has_answered: self.has_answered, status }
    }

    /// Serves calls until the stream ends or there is a reason to close it.
    async fn serve(&mut self, pool: &Pool) -> Option<Status> {
        let mut age = pin!(sleep(jittered(AGE_MAX)));
        while !self.is_closing {
            tokio::select! {
                response = self.responses.message() => match response {
                    Ok(Some(response)) => self.deliver(response, pool),
                    Ok(None) => return None,
                    Err(status) => return Some(status),
                },
                is_healthy = self.health.changed() => match is_healthy {
                    Some(true) => pool.mark_ready(&self.stream),
                    Some(false) => {
                        pool.mark_unready(self.stream.endpoint);
                        pool.record_error(self.stream.endpoint, ReplicaError::NotServing);
                    }
                    None => self.close(pool),
                },
                Some(call) = self.calls.recv(), if self.in_flight.len() < IN_FLIGHT_MAX => self.send(call, pool),
                () = &mut age => self.close(pool),
            }
        }
        None
    }

    /// Sends the calls that are still queued, and waits for all responses.
    async fn drain(&mut self, pool: &Pool) -> Option<Status> {
        loop {
            while self.in_flight.len() < IN_FLIGHT_MAX
                && let Ok(call) = self.calls.try_recv()
            {
                self.send(call, pool);
            }
            if self.in_flight.is_empty() {
                return None;
            }
            match self.responses.message().await {
                Ok(Some(response)) => self.deliver(response, pool),
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    }

    fn send(&mut self, call: PendingCall, pool: &Pool) {
        let PendingCall { question, responder } = call;
        if responder.is_cancelled() {
            return;
        }
        self.last_id += 1;
        let request = v1::VerifyStreamRequest { id: self.last_id, request: Some(question.into_request()) };
        match self.requests.try_send(request) {
            // It stays in flight even when its caller stops waiting, because the replica still works on it.
            Ok(()) => drop(self.in_flight.insert(self.last_id, responder)),
            // The stream has ended. `responses` returns the reason.
            Err(_) => self.close(pool),
        }
    }

    fn deliver(&mut self, response: v1::VerifyStreamResponse, pool: &Pool) {
        self.has_answered = true;
        let Some(responder) = self.in_flight.remove(&response.id) else { return };
        let outcome = match response.outcome {
            Some(Outcome::Response(response)) => Ok(response),
            Some(Outcome::Error(error)) => {
                // The token of this service is not accepted any more. The next session reads the token file again.
                if error.code == Code::Unauthenticated as i32 {
                    self.close(pool);
                }
                Err(error)
            }
            // A newer authority may send an outcome that this version cannot decode.
            None => Err(v1::StreamError { code: Code::Unknown.into(), ..v1::StreamError::default() }),
        };
        responder.respond(outcome);
    }

    fn close(&mut self, pool: &Pool) {
        self.is_closing = true;
        self.health = Health::Settled;
        pool.mark_unready(self.stream.endpoint);
        self.calls.close();
    }
}
