//! Verifiers at full speed. A lane is one verifier at one replica, so that a hanging replica does not block the
//! verifier's calls to the others.
//!
//! A lane has few open requests, like a closed loop. When no answer arrives it sends more, up to a limit: a stopped
//! replica answers the requests in its socket buffer first when it continues.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use key_authority_proto::v1::{VerifyResponse, VerifyStreamRequest, verify_stream_response::Outcome};
use key_authority_testkit::rng::SeededRng;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::World;
use super::history::Key;
use crate::client::{Client, verify_request};

/// Open requests of a lane that gets answers.
const DEPTH: usize = 2;
/// Open requests of a lane that gets none.
const OPEN_MAX: usize = 64;
/// How long a lane waits for an answer before it sends more requests.
const PATIENCE: Duration = Duration::from_millis(200);
/// The pause after an error, so that errors do not saturate the machine.
const PAUSE: Duration = Duration::from_millis(10);

/// One verifier at one replica.
pub(crate) struct Lane {
    pub(crate) world: Arc<World>,
    pub(crate) client: Client,
    pub(crate) replica: String,
    pub(crate) rng: SeededRng,
}

struct OpenRequest {
    key: Arc<Key>,
    invoked: u64,
}

impl Lane {
    /// Calls `Verify` until it is dropped.
    pub(crate) async fn call_verify(mut self) {
        let mut open = FuturesUnordered::new();
        loop {
            if open.len() < DEPTH
                && let Some(key) = self.world.keys.pick(&mut self.rng)
            {
                open.push(self.verify(key));
                continue;
            }
            tokio::select! {
                Some(()) = open.next() => {}
                () = sleep(PATIENCE) => if open.len() < OPEN_MAX {
                    open.extend(self.world.keys.pick(&mut self.rng).map(|key| self.verify(key)));
                }
            }
        }
    }

    fn verify(&self, key: Arc<Key>) -> impl Future<Output = ()> + use<> {
        let (world, client, replica) = (Arc::clone(&self.world), self.client.clone(), self.replica.clone());
        async move {
            let invoked = world.history.clock.now();
            let answer = client.verify(&key.token).await;
            world.history.note(&key, &replica, invoked, &answer);
            if answer.is_err() {
                sleep(PAUSE).await;
            }
        }
    }

    /// Calls `VerifyStream` until it is dropped, and opens a new stream whenever one ends.
    pub(crate) async fn call_verify_stream(mut self) {
        loop {
            if let Err(status) = self.run_stream().await
                && let Some(key) = self.world.keys.pick(&mut self.rng)
            {
                self.world.history.note(&key, &self.replica, self.world.history.clock.now(), &Err(status));
            }
            sleep(PAUSE).await;
        }
    }

    async fn run_stream(&mut self) -> Result<(), Status> {
        let (requests, receiver) = mpsc::channel(OPEN_MAX);
        let mut answers = self.client.verify_stream(ReceiverStream::new(receiver)).await?;
        let mut open: HashMap<u64, OpenRequest> = HashMap::new();
        let mut id = 0;
        let mut is_waiting = false;
        loop {
            let limit = if is_waiting { OPEN_MAX } else { DEPTH };
            if open.len() < limit
                && let Some(key) = self.world.keys.pick(&mut self.rng)
            {
                id += 1;
                let request = VerifyStreamRequest { id, request: Some(verify_request(&key.token)) };
                // Recorded before it is sent: the replica may answer at once.
                open.insert(id, OpenRequest { key, invoked: self.world.history.clock.now() });
                requests.send(request).await.map_err(|_| Status::cancelled("the stream ended"))?;
                is_waiting = false;
                continue;
            }
            tokio::select! {
                answer = answers.message() => {
                    let Some(answer) = answer? else { return Ok(()) };
                    self.note(&mut open, answer.id, answer.outcome).await;
                }
                () = sleep(PATIENCE) => is_waiting = true,
            }
        }
    }

    async fn note(&self, open: &mut HashMap<u64, OpenRequest>, id: u64, outcome: Option<Outcome>) {
        let Some(OpenRequest { key, invoked }) = open.remove(&id) else { return };
        let answer: Result<VerifyResponse, Status> = match outcome {
            Some(Outcome::Response(response)) => Ok(response),
            Some(Outcome::Error(error)) => Err(Status::new(Code::from(error.code), error.reason)),
            None => Err(Status::internal("empty outcome")),
        };
        self.world.history.note(&key, &self.replica, invoked, &answer);
        if answer.is_err() {
            sleep(PAUSE).await;
        }
    }
}
