//! One connection to one replica: a stream of many questions, and a watch on the replica's health beside it.
//!
//! Answers may come in any order; an `id` says which question each belongs to. When the stream ends, in order or not, the
//! questions without an answer are let go, and whoever asked them asks again, elsewhere or on the next stream. That is safe
//! because a question changes nothing, and right because the second answer is only ever newer than the first would have been.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use key_authority_proto::v1;
use key_authority_proto::v1::key_authority_client::KeyAuthorityClient;
use key_authority_proto::v1::verify_stream_response::Outcome;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
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
/// How long a session that takes no more questions waits for answers. What has not come by then was lost on the way, and while it
/// is waited for there is no other session with this replica.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// Why a session could not be had.
#[derive(Debug)]
pub(crate) enum Trouble {
    Connection(tonic::transport::Error),
    Status(Status),
}

impl From<tonic::transport::Error> for Trouble {
    fn from(error: tonic::transport::Error) -> Self {
        Self::Connection(error)
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(_) => f.write_str("no connection"),
            Self::Status(status) => write!(f, "{}: {}", status.code(), status.message()),
        }
    }
}

impl StdError for Trouble {
    /// Of a status, what caused it: the status itself would tell in other words what is told already.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Connection(error) => Some(error),
            Self::Status(status) => status.source(),
        }
    }
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
    has_answered: bool,
    /// It takes no more questions, and ends with the last answer or soon after.
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
        Ok(Self { link, asked, questions, answers, health, open, last_id: 0, has_answered: false, is_leaving: false })
    }

    /// Asks and answers until the stream ends.
    pub(crate) async fn run(mut self, links: &Links) -> Ended {
        let mut status = self.serve(links).await;
        if self.is_leaving {
            status = timeout(LEAVE_TIME, self.drain(links)).await.unwrap_or_default();
        }
        // Before the open questions are let go.
        links.withdraw(self.link.number);
        Ended { has_answered: self.has_answered, status }
    }

    /// Asks and answers until the stream ends or there is a reason to leave it.
    async fn serve(&mut self, links: &Links) -> Option<Status> {
        let mut age = pin!(sleep(jittered(AGE_MAX)));
        while !self.is_leaving {
            tokio::select! {
                answer = self.answers.message() => match answer {
                    Ok(Some(answer)) => self.hand_over(answer, links),
                    Ok(None) => return None,
                    Err(status) => return Some(status),
                },
                is_serving = self.health.changed() => match is_serving {
                    Some(true) => links.offer(&self.link),
                    Some(false) => links.withdraw(self.link.number),
                    None => self.leave(links),
                },
                Some(asked) = self.asked.recv(), if self.open.len() < OPEN_MAX => self.ask(asked, links),
                () = &mut age => self.leave(links),
            }
        }
        None
    }

    /// Waits for the answers that are owed, also to those who were about to ask.
    async fn drain(&mut self, links: &Links) -> Option<Status> {
        loop {
            while self.open.len() < OPEN_MAX
                && let Ok(asked) = self.asked.try_recv()
            {
                self.ask(asked, links);
            }
            if self.open.is_empty() {
                return None;
            }
            match self.answers.message().await {
                Ok(Some(answer)) => self.hand_over(answer, links),
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
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
        self.has_answered = true;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    #[test]
    fn a_status_is_told_once() {
        let refused = chain(&Trouble::from(Status::unauthenticated("who are you?")));
        assert_eq!(refused, "The request does not have valid authentication credentials: who are you?");
        let broken = Status::from_error(Box::new(std::io::Error::other("broken pipe")));
        assert_eq!(chain(&Trouble::from(broken)), "Unknown error: broken pipe");
    }
}
