//! Those who ask, at full speed. A lane is one verifier at one replica: a replica that hangs must not keep its verifier from
//! asking the others.
//!
//! A lane has few questions open, as a caller in a closed loop has. But when no answer comes it goes on asking, up to a limit:
//! what lies in the socket of a replica that is stopped is what it answers first when it goes on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use key_authority_proto::v1::{VerifyResponse, VerifyStreamRequest, verify_stream_response::Outcome};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::World;
use super::history::Key;
use crate::chance::Chance;
use crate::client::{Client, question};

/// Open questions of a lane that gets answers.
const DEPTH: usize = 2;
/// Open questions of one that does not.
const OPEN_MAX: usize = 64;
/// How long a lane waits for an answer before it asks on.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long it pauses when it was refused: enough not to spend the machine on it.
const PAUSE: Duration = Duration::from_millis(10);

/// One verifier at one replica.
pub(crate) struct Lane {
    pub(crate) world: Arc<World>,
    pub(crate) client: Client,
    pub(crate) replica: String,
    pub(crate) chance: Chance,
}

struct Asked {
    key: Arc<Key>,
    invoked: u64,
}

impl Lane {
    /// Asks by `Verify` for ever.
    pub(crate) async fn ask_singly(mut self) {
        let mut open = FuturesUnordered::new();
        loop {
            if open.len() < DEPTH
                && let Some(key) = self.world.keys.pick(&mut self.chance)
            {
                open.push(self.ask(key));
                continue;
            }
            tokio::select! {
                Some(()) = open.next() => {}
                () = sleep(PATIENCE) => if open.len() < OPEN_MAX && let Some(key) = self.world.keys.pick(&mut self.chance) {
                    open.push(self.ask(key));
                }
            }
        }
    }

    fn ask(&self, key: Arc<Key>) -> impl Future<Output = ()> + use<> {
        let (world, client, replica) = (Arc::clone(&self.world), self.client.clone(), self.replica.clone());
        async move {
            let invoked = world.history.clock.now();
            let answer = client.ask(&key.token).await;
            world.history.note(&key, &replica, invoked, &answer);
            if answer.is_err() {
                sleep(PAUSE).await;
            }
        }
    }

    /// Asks by `VerifyStream` for ever, over a new stream whenever one ends.
    pub(crate) async fn ask_on_a_stream(mut self) {
        loop {
            if let Err(status) = self.one_stream().await
                && let Some(key) = self.world.keys.pick(&mut self.chance)
            {
                self.world.history.note(&key, &self.replica, self.world.history.clock.now(), &Err(status));
            }
            sleep(PAUSE).await;
        }
    }

    async fn one_stream(&mut self) -> Result<(), Status> {
        let (questions, receiver) = mpsc::channel(OPEN_MAX);
        let mut answers = self.client.ask_many(ReceiverStream::new(receiver)).await?;
        let mut open: HashMap<u64, Asked> = HashMap::new();
        let mut id = 0;
        let mut is_waiting = false;
        loop {
            let limit = if is_waiting { OPEN_MAX } else { DEPTH };
            if open.len() < limit
                && let Some(key) = self.world.keys.pick(&mut self.chance)
            {
                id += 1;
                let request = VerifyStreamRequest { id, request: Some(question(&key.token)) };
                // From here on the replica may see it.
                open.insert(id, Asked { key, invoked: self.world.history.clock.now() });
                questions.send(request).await.map_err(|_| Status::cancelled("the stream ended"))?;
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

    async fn note(&self, open: &mut HashMap<u64, Asked>, id: u64, outcome: Option<Outcome>) {
        let Some(Asked { key, invoked }) = open.remove(&id) else { return };
        let answer: Result<VerifyResponse, Status> = match outcome {
            Some(Outcome::Response(response)) => Ok(response),
            Some(Outcome::Error(error)) => Err(Status::new(Code::from(error.code), error.reason)),
            None => Err(Status::internal("an outcome without content")),
        };
        self.world.history.note(&key, &self.replica, invoked, &answer);
        if answer.is_err() {
            sleep(PAUSE).await;
        }
    }
}
