//! One connection to one replica: a stream of many questions, and a watch on the replica's health beside it.
//!
//! Answers may come in any order; an `id` says which question each belongs to. When the stream ends, in order or not, the
//! questions without an answer are let go, and whoever asked them asks again, elsewhere or on the next stream. That is safe
//! because a question changes nothing, and right because the second answer is only ever newer than the first would have been.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use key_authority_proto::v1;
use key_authority_proto::v1::key_authority_client::KeyAuthorityClient;
use key_authority_proto::v1::verify_stream_response::Outcome;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::backoff::jittered;
use crate::links::{Asked, Link, Links, Waiting};

/// What the replica calls its ability to answer Verify now.
const SERVICE: &str = "keyauthority.v1.KeyAuthority";
/// Open questions on one stream. More wait their turn.
const OPEN_MAX: usize = 1024;
/// How old a session gets: then it is replaced, so that questions spread over what stands behind one name, and so that a new
/// token of ours is used.
const AGE_MAX: Duration = Duration::from_mins(5);

/// Why a session could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("no connection")]
    Connection(#[from] tonic::transport::Error),
    #[error("{}: {}", .0.code(), .0.message())]
    Status(#[from] Status),
}

/// An open connection.
pub(crate) struct Session {
    link: Link,
    asked: mpsc::UnboundedReceiver<Asked>,
    questions: mpsc::Sender<v1::VerifyStreamRequest>,
    answers: Streaming<v1::VerifyStreamResponse>,
    health: Health,
    open: HashMap<u64, Waiting>,
    last_id: u64,
    /// It takes no more questions, and ends with the last answer.
    is_leaving: bool,
}

/// How a session ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Whether it was of use.
    pub(crate) has_answered: bool,
    /// None: in order.
    pub(crate) status: Option<Status>,
}

impl Session {
    /// Connects endpoint `number` and opens the stream.
    pub(crate) async fn open(
        number: usize,
        endpoint: &Endpoint,
        authorization: Option<MetadataValue<Ascii>>,
    ) -> Result<Self, Trouble> {
        let channel = endpoint.connect().await?;
        // Never full: what waits in it is open, and no more than that is ever open.
        let (questions, sent) = mpsc::channel(OPEN_MAX);
        let mut request = Request::new(ReceiverStream::new(sent));
        if let Some(authorization) = authorization {
            request.metadata_mut().insert("authorization", authorization);
        }
        let answers = KeyAuthorityClient::new(channel.clone()).verify_stream(request).await?.into_inner();
        let health = Health::watch(channel).await?;
        let (sender, asked) = mpsc::unbounded_channel();
        let (link, open) = (Link::new(number, sender), HashMap::new());
        Ok(Self { link, asked, questions, answers, health, open, last_id: 0, is_leaving: false })
    }

    /// Asks and answers until the stream ends.
    pub(crate) async fn run(mut self, links: &Links) -> Ended {
        let mut has_answered = false;
        let mut age = pin!(sleep(jittered(AGE_MAX)));
        let status = loop {
            if self.is_leaving && self.open.is_empty() {
                break None;
            }
            tokio::select! {
                answer = self.answers.message() => match answer {
                    Ok(Some(answer)) => {
                        has_answered = true;
                        self.hand_over(answer, links);
                    }
                    Ok(None) => break None,
                    Err(status) => break Some(status),
                },
                is_serving = self.health.changed() => match is_serving {
                    Some(true) if !self.is_leaving => {
                        links.offer(&self.link);
                    }
                    Some(_) => links.withdraw(self.link.number),
                    None => self.leave(links),
                },
                Some(asked) = self.asked.recv(), if self.open.len() < OPEN_MAX => self.ask(asked, links),
                () = &mut age, if !self.is_leaving => self.leave(links),
            }
        };
        // Before the open questions are let go.
        links.withdraw(self.link.number);
        Ended { has_answered, status }
    }

    fn ask(&mut self, asked: Asked, links: &Links) {
        let Asked { request, waiting } = asked;
        if waiting.answer.is_closed() {
            // Taken back before its turn came.
            return;
        }
        self.last_id += 1;
        let question = v1::VerifyStreamRequest { id: self.last_id, request: Some(request) };
        match self.questions.try_send(question) {
            // The answer is owed even if nobody waits for it any more: the server has the question, and it is one of the open ones.
            Ok(()) => drop(self.open.insert(self.last_id, waiting)),
            // The stream has ended, and will say so.
            Err(_) => self.leave(links),
        }
    }

    fn hand_over(&mut self, response: v1::VerifyStreamResponse, links: &Links) {
        let Some(waiting) = self.open.remove(&response.id) else { return };
        let answer = match response.outcome {
            Some(Outcome::Response(response)) => Ok(response),
            Some(Outcome::Error(error)) => {
                // Our own token is not accepted any more. There may be another by now.
                if error.code == Code::Unauthenticated as i32 {
                    self.leave(links);
                }
                Err(error)
            }
            // What a newer authority would say instead of an answer is not known here.
            None => Err(v1::StreamError { code: Code::Unknown.into(), ..v1::StreamError::default() }),
        };
        // Whoever asked may have stopped waiting.
        let _ = waiting.answer.send(answer);
    }

    fn leave(&mut self, links: &Links) {
        self.is_leaving = true;
        self.health = Health::Unknown;
        links.withdraw(self.link.number);
        self.asked.close();
    }
}

/// Whether the replica says that it can answer.
enum Health {
    Watched(Box<Streaming<HealthCheckResponse>>),
    /// Whoever is asked has no such service, or too many ask it: it counts as healthy until it fails.
    Assumed,
    /// Nobody asks any more.
    Unknown,
}

impl Health {
    async fn watch(channel: Channel) -> Result<Self, Status> {
        let request = HealthCheckRequest { service: SERVICE.to_owned() };
        match HealthClient::new(channel).watch(request).await {
            Ok(watch) => Ok(Self::Watched(Box::new(watch.into_inner()))),
            Err(status) if matches!(status.code(), Code::Unimplemented | Code::ResourceExhausted) => Ok(Self::Assumed),
            Err(status) => Err(status),
        }
    }

    /// Waits for news. None: the watch has ended.
    async fn changed(&mut self) -> Option<bool> {
        match self {
            Self::Watched(watch) => match watch.message().await {
                Ok(Some(state)) => Some(state.status() == ServingStatus::Serving),
                Err(status) if matches!(status.code(), Code::Unimplemented | Code::ResourceExhausted) => {
                    *self = Self::Unknown;
                    Some(true)
                }
                Ok(None) | Err(_) => None,
            },
            Self::Assumed => {
                *self = Self::Unknown;
                Some(true)
            }
            Self::Unknown => std::future::pending().await,
        }
    }
}
