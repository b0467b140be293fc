//! Many requests in flight on one `VerifyStream`, as a gateway with many users would send them. Each request takes a
//! free slot and uses its number as ID; the answer with that ID frees the slot. One write carries as many requests as
//! the last read brought answers.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::{Bytes, BytesMut};
use h2::SendStream;
use key_authority_proto::v1;
use key_authority_proto::v1::verify_stream_response::Outcome;
use prost::Message as _;

use super::connection::{self, Connection};
use super::recorder::Recorder;
use super::request::{Expected, Requests};
use super::{Mode, closed, frame};

/// The slots for requests in flight.
struct Window {
    slots: Vec<Option<(Expected, Duration)>>,
    free: Vec<usize>,
}

/// Keeps `size` requests in flight until the run is over, and then waits for the outstanding answers.
pub(super) async fn run(
    mut connection: Connection,
    mut requests: Requests,
    size: usize,
    recorder: Rc<Recorder>,
) -> Result<()> {
    let path = connection.path(closed::method(Mode::Stream))?;
    let (mut sender, answer) = connection.call(&path).await?;
    let mut window = Window { slots: vec![None; size], free: (0..size).collect() };
    window.send(&mut sender, &mut requests, &recorder)?;
    let mut body = answer.await.context("VerifyStream failed")?.into_body();
    let mut left = Bytes::new();
    let mut is_ending = false;
    while let Some(chunk) = connection::next(&mut body).await? {
        left = connection::concat(&left, chunk);
        while let Some(message) = frame::take(&mut left)? {
            window.receive(&v1::VerifyStreamResponse::decode(message)?, &recorder)?;
        }
        if !recorder.is_over() {
            window.send(&mut sender, &mut requests, &recorder)?;
        } else if !is_ending {
            sender.send_data(Bytes::new(), true).context("cannot close the stream")?;
            is_ending = true;
        }
    }
    if window.free.len() != size {
        bail!("the stream ended before every request was answered");
    }
    let trailers = body.trailers().await.context("cannot read the trailers")?;
    connection::check(&trailers.unwrap_or_default())
}

impl Window {
    /// Sends a request for every free slot.
    fn send(&mut self, sender: &mut SendStream<Bytes>, requests: &mut Requests, recorder: &Recorder) -> Result<()> {
        if self.free.is_empty() {
            return Ok(());
        }
        let mut buffer = BytesMut::with_capacity(self.free.len() * 96);
        let sent = recorder.now();
        for slot in self.free.drain(..) {
            let (request, expected) = requests.next()?;
            frame::put(&v1::VerifyStreamRequest { id: slot as u64, request: Some(request) }, &mut buffer)?;
            *self.slots.get_mut(slot).context("no such slot")? = Some((expected, sent));
        }
        sender.send_data(buffer.freeze(), false).context("cannot send requests")
    }

    /// Checks an answer, and frees its slot.
    fn receive(&mut self, answer: &v1::VerifyStreamResponse, recorder: &Recorder) -> Result<()> {
        let Some(Outcome::Response(response)) = &answer.outcome else {
            bail!("not a verdict: {answer:?}");
        };
        let slot = usize::try_from(answer.id)?;
        let open = self.slots.get_mut(slot).and_then(Option::take);
        let (expected, sent) = open.with_context(|| format!("an answer with the ID of no request: {}", answer.id))?;
        expected.check(response)?;
        recorder.count(sent, 1);
        self.free.push(slot);
        Ok(())
    }
}
