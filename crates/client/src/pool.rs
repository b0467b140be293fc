//! Where questions can be asked now, and to whom the next one goes.
//!
//! A link is on offer while its stream is open and its replica healthy. It is withdrawn before the questions that it leaves
//! unanswered are let go, so that who asks again does not find it any more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use key_authority_proto::v1;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::Error;

/// What came of one question on a stream.
pub(crate) type Answer = Result<v1::VerifyResponse, v1::StreamError>;

/// A question on its way to a stream.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: v1::VerifyRequest,
    pub(crate) waiting: Waiting,
}

/// Who waits for an answer. Dropped, it tells them that there will be none.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) answer: oneshot::Sender<Answer>,
    /// Counts as one of the link's even when nobody waits any more: a replica that owes an answer is no better than a busy one.
    _user: Arc<()>,
}

/// The way to one stream.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    /// Which endpoint it is, in the order in which they were named.
    pub(crate) number: usize,
    /// Without a limit: what waits here, waits in place of whoever asked it. In a queue with limited room, one who got room and did
    /// not look would hold up all that come after.
    asked: mpsc::UnboundedSender<Asked>,
    /// One of whoever has or may have an open question; how many there are is the load.
    users: Arc<()>,
}

impl Link {
    pub(crate) fn new(number: usize, asked: mpsc::UnboundedSender<Asked>) -> Self {
        Self { number, asked, users: Arc::new(()) }
    }

    /// Asks, and waits for the answer. None: the stream has ended without one.
    pub(crate) async fn ask(&self, request: v1::VerifyRequest) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { answer, _user: Arc::clone(&self.users) };
        self.asked.send(Asked { request, waiting }).ok()?;
        answered.await.ok()
    }

    fn load(&self) -> usize {
        Arc::strong_count(&self.users)
    }
}

#[derive(Debug, Default)]
struct Offers {
    links: Vec<Link>,
    /// Set while the authority does not let this service ask.
    refusal: Option<String>,
}

/// The links on offer.
#[derive(Debug, Default)]
pub(crate) struct Links {
    offers: watch::Sender<Offers>,
    turn: AtomicUsize,
    /// What was last in the way of an answer, for people.
    trouble: Mutex<Option<String>>,
}

impl Links {
    /// Lets questions go to a link.
    pub(crate) fn offer(&self, link: &Link) {
        self.offers.send_modify(|offers| {
            offers.links.retain(|other| other.number != link.number);
            offers.links.push(link.clone());
            offers.refusal = None;
        });
    }

    /// Lets no more questions go to an endpoint.
    pub(crate) fn withdraw(&self, number: usize) {
        self.offers.send_if_modified(|offers| {
            let len = offers.links.len();
            offers.links.retain(|link| link.number != number);
            offers.links.len() < len
        });
    }

    /// Tells whoever asks that this service may not, until a link is on offer again.
    pub(crate) fn refuse(&self, message: &str) {
        self.offers.send_modify(|offers| offers.refusal = Some(message.to_owned()));
    }

    /// Whether there is anybody to ask.
    pub(crate) fn is_any_ready(&self) -> bool {
        !self.offers.borrow().links.is_empty()
    }

    /// Waits until there is somebody to ask: who has the fewest questions open, in turn where some have equally few; `avoided` only
    /// when there is nobody else.
    pub(crate) async fn pick(&self, avoided: Option<usize>) -> Result<Link, Error> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if let Some(picked) = picked(&self.offers.borrow(), turn, avoided) {
            return picked;
        }
        let mut changes = self.offers.subscribe();
        loop {
            if let Some(picked) = picked(&changes.borrow_and_update(), turn, avoided) {
                return picked;
            }
            if changes.changed().await.is_err() {
                // Not while we are here: the sender is ours.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Keeps what is in the way of an answer.
    pub(crate) fn note(&self, trouble: impl Into<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble.into());
    }

    /// What was last in the way.
    pub(crate) fn trouble(&self) -> String {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trouble.unwrap_or_else(|| "no replica has said that it is ready".to_owned())
    }
}

fn picked(offers: &Offers, turn: usize, avoided: Option<usize>) -> Option<Result<Link, Error>> {
    let count = offers.links.len();
    let Some(first) = turn.checked_rem(count) else {
        return offers.refusal.clone().map(|message| Err(Error::Caller { message }));
    };
    let in_turn = offers.links.iter().cycle().skip(first).take(count);
    let is_avoided = |link: &Link| avoided == Some(link.number);
    in_turn.min_by_key(|link| (is_avoided(link), link.load())).cloned().map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(number: usize) -> Link {
        Link::new(number, mpsc::unbounded_channel().0)
    }

    fn offered(count: usize) -> Links {
        let links = Links::default();
        (0..count).for_each(|number| links.offer(&link(number)));
        links
    }

    async fn picks(links: &Links, count: usize, avoided: Option<usize>) -> Vec<usize> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(links.pick(avoided).await.unwrap().number);
        }
        numbers
    }

    #[tokio::test]
    async fn questions_go_in_turn() {
        assert_eq!(picks(&offered(3), 6, None).await, [0, 1, 2, 0, 1, 2]);
    }

    #[tokio::test]
    async fn who_has_fewer_open_questions_is_asked_first() {
        let links = offered(2);
        let waiting = [links.pick(Some(1)).await.unwrap(), links.pick(Some(1)).await.unwrap()];
        assert_eq!(waiting.iter().map(|link| link.number).collect::<Vec<_>>(), [0, 0]);
        assert_eq!(picks(&links, 3, None).await, [1, 1, 1]);
        drop(waiting);
        assert!(picks(&links, 2, None).await.contains(&0));
    }

    #[tokio::test]
    async fn the_avoided_is_asked_when_there_is_nobody_else() {
        let links = offered(2);
        assert_eq!(picks(&links, 3, Some(0)).await, [1, 1, 1]);
        links.withdraw(1);
        assert_eq!(picks(&links, 2, Some(0)).await, [0, 0]);
    }

    #[tokio::test]
    async fn who_finds_nobody_waits_for_an_offer_or_a_refusal() {
        let links = Links::default();
        let (picked, ()) = tokio::join!(links.pick(None), async { links.offer(&link(7)) });
        assert_eq!(picked.unwrap().number, 7);
        links.withdraw(7);
        let (picked, ()) = tokio::join!(links.pick(None), async { links.refuse("who are you?") });
        assert!(matches!(picked, Err(Error::Caller { message }) if message == "who are you?"));
        links.offer(&link(7));
        assert!(links.pick(None).await.is_ok(), "an offer ends a refusal");
    }

    #[tokio::test]
    async fn a_question_to_a_stream_that_ended_is_told_that_there_is_no_answer() {
        assert_eq!(link(0).ask(v1::VerifyRequest::default()).await, None);
    }
}
