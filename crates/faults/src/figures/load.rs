//! Callers of Verify at a steady pace: enough to see a gap of some milliseconds, not so many that the machine is the figure.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use key_authority_proto::v1::{Verdict, VerifyResponse};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::Bench;
use crate::chance::Chance;
use crate::client::{Client, reason};
use crate::clock::Clock;
use crate::trouble::Trouble;

/// Callers at each replica.
const LANES: usize = 4;
/// How long each pauses between two questions.
const PAUSE: Duration = Duration::from_millis(4);
/// When an answer counts as not coming.
const LIMIT: Duration = Duration::from_secs(5);

/// Whom a caller asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One replica, whatever it answers.
    Pinned,
    /// Any replica, and each other one when it does not answer.
    Retrying,
}

/// What came of a question about a key that is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Valid,
    /// Another verdict: a denial of what should pass.
    Denied(String),
    /// No verdict, and why.
    Failed(String),
}

/// One question and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The replica that a pinned caller asks.
    pub(crate) replica: usize,
    pub(crate) invoked: u64,
    pub(crate) replied: u64,
    pub(crate) outcome: Outcome,
}

/// Running callers.
#[derive(Debug)]
pub(crate) struct Load {
    answers: Arc<Mutex<Vec<Answer>>>,
    lanes: JoinSet<()>,
}

impl Load {
    /// Lets callers ask until [`Load::stop`].
    pub(crate) fn start(bench: &mut Bench, manner: Manner) -> Result<Self, Trouble> {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let mut lanes = JoinSet::new();
        for _ in 0..LANES {
            for replica in 0..bench.cluster.replicas.len() {
                let mut clients = bench.cluster.clients(&bench.verifier_token)?;
                // Each begins with another one; a pinned caller knows no other.
                clients.rotate_left(replica);
                if manner == Manner::Pinned {
                    clients.truncate(1);
                }
                let lane = Lane {
                    clock: bench.clock,
                    clients,
                    replica,
                    tokens: bench.tokens.clone(),
                    chance: bench.chance.fork(),
                };
                lanes.spawn(lane.run(Arc::clone(&answers)));
            }
        }
        Ok(Self { answers, lanes })
    }

    /// Ends it, and returns all answers in the order in which they came.
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
    chance: Chance,
}

impl Lane {
    async fn run(mut self, answers: Arc<Mutex<Vec<Answer>>>) {
        loop {
            let invoked = self.clock.now();
            let outcome = self.ask().await;
            let answer = Answer { replica: self.replica, invoked, replied: self.clock.now(), outcome };
            answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
            sleep(PAUSE).await;
        }
    }

    async fn ask(&mut self) -> Outcome {
        let token = self.chance.one_of(&self.tokens).cloned().unwrap_or_default();
        let mut outcome = Outcome::Failed("nobody to ask".into());
        for client in &self.clients {
            outcome = match timeout(LIMIT, client.ask(&token)).await {
                Ok(answer) => judge(answer),
                Err(_) => Outcome::Failed("no answer in time".into()),
            };
            if !matches!(outcome, Outcome::Failed(_)) {
                break;
            }
        }
        outcome
    }
}

fn judge(answer: Result<VerifyResponse, Status>) -> Outcome {
    match answer {
        Ok(answer) if answer.verdict() == Verdict::Valid => Outcome::Valid,
        Ok(answer) => Outcome::Denied(answer.verdict().as_str_name().to_owned()),
        Err(status) => Outcome::Failed(reason(&status)),
    }
}

/// Those that got another verdict than VALID.
pub(crate) fn denied(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| matches!(answer.outcome, Outcome::Denied(_))).count()
}

/// Those that got no verdict.
pub(crate) fn failed(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| matches!(answer.outcome, Outcome::Failed(_))).count()
}
