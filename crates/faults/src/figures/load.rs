//! Clients that call Verify at a steady rate: often enough to show a gap of some milliseconds, without saturating the
//! machine.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use key_authority_proto::v1::{Verdict, VerifyResponse};
use key_authority_testkit::clock::Clock;
use key_authority_testkit::rng::SeededRng;
use rand::seq::IndexedRandom as _;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::Bench;
use crate::client::{Client, reason};

/// Clients per replica.
const LANES: usize = 4;
/// The pause of a client between two calls.
const PAUSE: Duration = Duration::from_millis(4);
/// The timeout of a call.
const LIMIT: Duration = Duration::from_secs(5);

/// How a client chooses the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Routing {
    /// Always one replica.
    Pinned,
    /// One replica, and the others in turn if it fails.
    Retrying,
}

/// The outcome of a Verify of a valid key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Valid,
    /// Another verdict: a false denial.
    Denied(String),
    /// No verdict, and the reason.
    Failed(String),
}

/// The outcome of one call, with its times in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The replica of a pinned client.
    pub(crate) replica: usize,
    pub(crate) invoked: u64,
    pub(crate) replied: u64,
    pub(crate) outcome: Outcome,
}

/// Running clients.
#[derive(Debug)]
pub(crate) struct Load {
    answers: Arc<Mutex<Vec<Answer>>>,
    lanes: JoinSet<()>,
}

impl Load {
    /// Starts clients, which run until [`Load::stop`].
    pub(crate) fn start(bench: &mut Bench, routing: Routing) -> Result<Self> {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let mut lanes = JoinSet::new();
        for _ in 0..LANES {
            for replica in 0..bench.cluster.replicas.len() {
                let mut clients = bench.cluster.clients(&bench.verifier_token)?;
                // Each client starts with another replica. A pinned client knows no other.
                clients.rotate_left(replica);
                if routing == Routing::Pinned {
                    clients.truncate(1);
                }
                let lane =
                    Lane { clock: bench.clock, clients, replica, tokens: bench.tokens.clone(), rng: bench.rng.fork() };
                lanes.spawn(lane.run(Arc::clone(&answers)));
            }
        }
        Ok(Self { answers, lanes })
    }

    /// Stops the clients, and returns all answers in the order of their arrival.
    pub(crate) async fn stop(mut self) -> Vec<Answer> {
        self.lanes.shutdown().await;
        std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Lane {
    clock: Clock,
    clients: Vec<Client>,
    replica: usize,
    tokens: Vec<String>,
    rng: SeededRng,
}

impl Lane {
    async fn run(mut self, answers: Arc<Mutex<Vec<Answer>>>) {
        loop {
            let invoked = self.clock.now();
            let outcome = self.verify().await;
            let answer = Answer { replica: self.replica, invoked, replied: self.clock.now(), outcome };
            answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
            sleep(PAUSE).await;
        }
    }

    async fn verify(&mut self) -> Outcome {
        let token = self.tokens.choose(&mut self.rng).cloned().unwrap_or_default();
        let mut outcome = Outcome::Failed("no replicas".into());
        for client in &self.clients {
            outcome = match timeout(LIMIT, client.verify(&token)).await {
                Ok(answer) => outcome_of(answer),
                Err(_) => Outcome::Failed("timeout".into()),
            };
            if !matches!(outcome, Outcome::Failed(_)) {
                break;
            }
        }
        outcome
    }
}

fn outcome_of(answer: Result<VerifyResponse, Status>) -> Outcome {
    match answer {
        Ok(answer) if answer.verdict() == Verdict::Valid => Outcome::Valid,
        Ok(answer) => Outcome::Denied(answer.verdict().as_str_name().to_owned()),
        Err(status) => Outcome::Failed(reason(&status)),
    }
}

/// The number of answers with another verdict than VALID.
pub(crate) fn denied(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| matches!(answer.outcome, Outcome::Denied(_))).count()
}

/// The number of answers without a verdict.
pub(crate) fn failed(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| matches!(answer.outcome, Outcome::Failed(_))).count()
}
