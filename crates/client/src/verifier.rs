//! The questions of a service.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Endpoint;

use key_authority_proto::v1;

use crate::backoff::Backoff;
use crate::builder::Builder;
use crate::credential::Credential;
use crate::endpoint::Place;
use crate::error::Error;
use crate::links::Links;
use crate::question::Question;
use crate::verdict::{Denial, Verdict};

/// How long one replica may keep a question to itself while another could answer it.
const PATIENCE_MAX: Duration = Duration::from_secs(1);
/// How many streams may end under one question. It may be the question that ends them, and others are on them too.
const LOSSES_MAX: u32 = 5;

/// Asks Key Authority. Clones share its connections, which end with the last of them.
///
/// - Each endpoint has one connection, with one stream that many questions are on at once. A question goes to the healthy replica
///   that has the fewest open; an unhealthy one gets none.
/// - A question whose stream ended, whose replica could not tell (`UNAVAILABLE`), or whose answer took too long while there is
///   another replica to ask, is asked again, until the deadline or until the fifth stream has ended under it. Connections come
///   back by themselves.
/// - What is longer than any token is denied as malformed, and a question larger than any valid one refused, without asking.
/// - No verdict is kept. A question that is asked after a change has returned is decided by the state after it.
#[derive(Debug, Clone)]
pub struct Verifier {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    links: Arc<Links>,
    deadline: Duration,
    patience: Duration,
    /// Dropping it ends them.
    _places: JoinSet<()>,
}

impl Verifier {
    /// Begins to make one.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn start(endpoints: Vec<Endpoint>, credential: &Credential, deadline: Duration) -> Self {
        let links = Arc::new(Links::default());
        // With nobody else to ask, asking once more would only be more to answer.
        let patience = if endpoints.len() > 1 { (deadline / 3).min(PATIENCE_MAX) } else { deadline };
        let mut places = JoinSet::new();
        for (number, endpoint) in endpoints.into_iter().enumerate() {
            let place = Place { number, endpoint, credential: credential.clone(), links: Arc::clone(&links) };
            places.spawn(place.keep());
        }
        Self { shared: Arc::new(Shared { links, deadline, patience, _places: places }) }
    }

    /// Whether there is a healthy replica to ask now. For a service's own readiness; a question needs no such look before it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared.links.is_any_ready()
    }

    /// Asks one question. Dropping the future takes it back.
    ///
    /// # Errors
    /// When there is no verdict: see [`Error`]. It is never a denial.
    pub async fn verify(&self, question: &Question) -> Result<Verdict, Error> {
        let Shared { links, deadline, patience, .. } = &*self.shared;
        if question.is_malformed() {
            return Ok(Verdict::Denied(Denial::malformed()));
        }
        match timeout(*deadline, ask(links, *patience, question.request()?)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Error::Unavailable { waited: *deadline, trouble: links.trouble() }),
        }
    }
}

/// Asks until there is an answer.
async fn ask(links: &Links, patience: Duration, request: &v1::VerifyRequest) -> Result<Verdict, Error> {
    let mut backoff = Backoff::new();
    let (mut avoided, mut losses) = (None, 0);
    loop {
        let link = links.pick(avoided).await?;
        match timeout(patience, link.ask(request.clone())).await {
            Ok(Some(Ok(response))) => return Verdict::try_from(response),
            Ok(Some(Err(error))) if error.code == Code::Unavailable as i32 => {
                links.note(error.message);
                backoff.pause().await;
            }
            Ok(Some(Err(error))) => return Err(Error::of(error)),
            // The stream has ended. Its link is not on offer any more.
            Ok(None) => {
                losses += 1;
                if losses == LOSSES_MAX {
                    return Err(Error::Lost { times: losses, trouble: links.trouble() });
                }
                // The first time it is asked elsewhere at once.
                if losses > 1 {
                    backoff.pause().await;
                }
            }
            Err(_elapsed) => links.note("a replica does not answer"),
        }
        avoided = Some(link.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::links::Link;

    #[tokio::test]
    async fn a_question_under_which_stream_after_stream_ends_is_given_up() {
        let links = Links::default();
        let (sender, mut asked) = mpsc::unbounded_channel();
        links.offer(&Link::new(0, sender));
        let mut count = 0;
        let ends = async {
            while asked.recv().await.is_some() {
                count += 1;
                assert!(count <= LOSSES_MAX, "asked on and on");
            }
        };
        let request = v1::VerifyRequest::default();
        let outcome = tokio::select! {
            outcome = ask(&links, PATIENCE_MAX, &request) => outcome,
            () = ends => panic!("the link is gone"),
        };
        assert!(matches!(outcome, Err(Error::Lost { times: LOSSES_MAX, .. })), "{outcome:?}");
        assert_eq!(count, LOSSES_MAX);
    }
}
