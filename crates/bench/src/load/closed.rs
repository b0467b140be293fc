//! The closed loop: who asks waits for the answer and asks again.

use std::rc::Rc;

use key_authority_proto::v1;
use prost::Message as _;

use super::connection::{Connection, Path};
use super::question::Questions;
use super::tally::Tally;
use super::{Mode, frame};
use crate::trouble::Trouble;

/// Asks one call after the other until the run is over.
pub(super) async fn ask(mut connection: Connection, mut questions: Questions, tally: Rc<Tally>) -> Result<(), Trouble> {
    let path = connection.path(method(questions.plan.mode))?;
    while !tally.is_over() {
        let asked = tally.now();
        let answers = call(&mut connection, &path, &mut questions).await?;
        tally.count(asked, answers);
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

/// One call, and how many answers it brought.
pub(super) async fn call(connection: &mut Connection, path: &Path, questions: &mut Questions) -> Result<u64, Trouble> {
    if let Mode::Batch(size) = questions.plan.mode {
        let asked = (0..size).map(|_| questions.next()).collect::<Result<Vec<_>, _>>()?;
        let (requests, expected): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let answer = connection.unary(path, frame::of(&v1::BatchVerifyRequest { requests })?).await?;
        let answer = v1::BatchVerifyResponse::decode(answer)?;
        if answer.responses.len() != size {
            return Err(format!("{} answers to a batch of {size}", answer.responses.len()).into());
        }
        expected.iter().zip(&answer.responses).try_for_each(|(expected, response)| expected.check(response))?;
        Ok(size as u64)
    } else {
        let (request, expected) = questions.next()?;
        let answer = connection.unary(path, frame::of(&request)?).await?;
        expected.check(&v1::VerifyResponse::decode(answer)?)?;
        Ok(1)
    }
}
