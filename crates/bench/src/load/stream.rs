//! Many questions in flight on one `VerifyStream`, as a caller would ask who has many users of its own: each question gets
//! the number of a free place as its ID, and the answer with that ID frees the place. What is asked together is sent
//! together, so that one write carries as many questions as the last read brought answers.

use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::SendStream;
use key_authority_proto::v1;
use key_authority_proto::v1::verify_stream_response::Outcome;
use prost::Message as _;

use super::connection::{self, Connection};
use super::question::{Expected, Questions};
use super::tally::Tally;
use super::{Mode, closed, frame};
use crate::trouble::{Attempt as _, Trouble};

/// The places for questions in flight.
struct Window {
    places: Vec<Option<(Expected, Duration)>>,
    free: Vec<usize>,
}

/// Keeps `size` questions in flight until the run is over, and then awaits the answers that are still to come.
pub(super) async fn ask(
    mut connection: Connection,
    mut questions: Questions,
    size: usize,
    tally: Rc<Tally>,
) -> Result<(), Trouble> {
    let path = connection.path(closed::method(Mode::Stream))?;
    let (mut sender, answer) = connection.call(&path).await?;
    let mut window = Window { places: vec![None; size], free: (0..size).collect() };
    window.ask(&mut sender, &mut questions, &tally)?;
    let mut body = answer.await.attempt("the stream")?.into_body();
    let mut left = Bytes::new();
    let mut is_ending = false;
    while let Some(chunk) = connection::next(&mut body).await? {
        left = connection::joined(&left, chunk);
        while let Some(message) = frame::take(&mut left)? {
            window.answered(&v1::VerifyStreamResponse::decode(message)?, &tally)?;
        }
        if !tally.is_over() {
            window.ask(&mut sender, &mut questions, &tally)?;
        } else if !is_ending {
            sender.send_data(Bytes::new(), true).attempt("the end of the stream")?;
            is_ending = true;
        }
    }
    if window.free.len() != size {
        return Err("the stream ended before all questions were answered".into());
    }
    let trailers = body.trailers().await.attempt("the trailers")?;
    connection::check(&trailers.unwrap_or_default())
}

impl Window {
    /// Asks as many questions as there are free places.
    fn ask(&mut self, sender: &mut SendStream<Bytes>, questions: &mut Questions, tally: &Tally) -> Result<(), Trouble> {
        if self.free.is_empty() {
            return Ok(());
        }
        let mut buffer = BytesMut::with_capacity(self.free.len() * 96);
        let asked = tally.now();
        for place in self.free.drain(..) {
            let (request, expected) = questions.next()?;
            frame::put(&v1::VerifyStreamRequest { id: place as u64, request: Some(request) }, &mut buffer)?;
            *self.places.get_mut(place).ok_or("no such place")? = Some((expected, asked));
        }
        sender.send_data(buffer.freeze(), false).attempt("questions")
    }

    /// Checks an answer, and frees its place.
    fn answered(&mut self, answer: &v1::VerifyStreamResponse, tally: &Tally) -> Result<(), Trouble> {
        let Some(Outcome::Response(response)) = &answer.outcome else {
            return Err(format!("no answer: {answer:?}").into());
        };
        let place = usize::try_from(answer.id)?;
        let asked = self.places.get_mut(place).and_then(Option::take);
        let (expected, asked) = asked.ok_or_else(|| format!("an answer that nobody asked for: {}", answer.id))?;
        expected.check(response)?;
        tally.count(asked, 1);
        self.free.push(place);
        Ok(())
    }
}
