//! The closed loop: each worker waits for an answer before it sends the next request.

use std::rc::Rc;

use anyhow::{Result, bail};
use key_authority_proto::v1;
use prost::Message as _;

use super::connection::{Connection, Path};
use super::recorder::Recorder;
use super::request::Requests;
use super::{Mode, frame};

/// Makes one call after the other until the run is over.
pub(super) async fn run(mut connection: Connection, mut requests: Requests, recorder: Rc<Recorder>) -> Result<()> {
    let path = connection.path(method(requests.plan.mode))?;
    while !recorder.is_over() {
        let sent = recorder.now();
        let answers = call(&mut connection, &path, &mut requests).await?;
        recorder.count(sent, answers);
    }
    Ok(())
}

pub(super) fn method(mode: Mode) -> &'static str {
    match mode {
        Mode::Unary => "Verify",
        Mode::Batch(_) => "BatchVerify",
        Mode::Stream => "VerifyStream",
    }
}

/// Makes one call, and returns the number of its answers.
pub(super) async fn call(connection: &mut Connection, path: &Path, requests: &mut Requests) -> Result<u64> {
    if let Mode::Batch(size) = requests.plan.mode {
        let drawn = (0..size).map(|_| requests.next()).collect::<Result<Vec<_>, _>>()?;
        let (requests, expected): (Vec<_>, Vec<_>) = drawn.into_iter().unzip();
        let answer = connection.unary(path, frame::of(&v1::BatchVerifyRequest { requests })?).await?;
        let answer = v1::BatchVerifyResponse::decode(answer)?;
        if answer.responses.len() != size {
            bail!("{} answers to a batch of {size}", answer.responses.len());
        }
        expected.iter().zip(&answer.responses).try_for_each(|(expected, response)| expected.check(response))?;
        Ok(size as u64)
    } else {
        let (request, expected) = requests.next()?;
        let answer = connection.unary(path, frame::of(&request)?).await?;
        expected.check(&v1::VerifyResponse::decode(answer)?)?;
        Ok(1)
    }
}
