//! Questions that came together: in a batch, or in one piece of a stream.
//!
//! They are decided in steps, each over all of them: the digests, the look-ups, the facts, the decisions. Looking up and
//! reading the facts wait for memory, and a processor waits for several at once where little stands between them.

use std::convert::Infallible;

use key_authority_domain::verdict::Question;
use key_authority_proto::v1;
use key_authority_replica::index::IndexGuard;

use super::answer::{self, Answer};
use super::{Decided, Found, Sought, Verifier, judge, message, undecodable};
use crate::auth::permit::{Callers, Credential, Permit};
use crate::rpc::errors::RpcError;
use crate::wire::verify::{self as wire, Asked, Numbered};
use crate::wire::violations::REQUIRED;

impl Verifier {
    /// Decides many questions, in order.
    pub(super) fn decide_all<'a, 'q>(
        &self,
        index: &'a IndexGuard<'_>,
        permit: &Permit,
        asked: impl Iterator<Item = (&'q str, &'q Question<'q>)> + Clone,
    ) -> Vec<Decided<'a>> {
        let sought: Vec<Sought<'q>> = asked.clone().map(|(token, _)| self.seek(token)).collect();
        let secrets: Vec<_> = sought.iter().map(|sought| self.find(index, permit.moment(), sought)).collect();
        let found: Vec<_> = secrets.into_iter().map(|secret| secret.map(Found::of)).collect();
        found.into_iter().zip(asked).map(|(found, (_, question))| judge(permit, found, question)).collect()
    }

    /// Answers `messages` of a stream, each a `VerifyStreamRequest`: appends a framed `VerifyStreamResponse` for each to
    /// `out`. The caller is judged again, since its key may be revoked meanwhile.
    ///
    /// # Errors
    /// At the first message that is none; those before it are answered. A question that cannot be answered is answered with
    /// that.
    pub fn verify_on_stream(
        &self,
        callers: &Callers,
        credential: &Credential,
        messages: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> Result<(), RpcError> {
        let mut end = Ok(());
        let mut ends = |message: &[u8]| end = Err(undecodable::<v1::VerifyStreamRequest>(message));
        let numbered: Vec<Numbered<'_>> =
            messages.iter().map_while(|message| wire::numbered(message).map_err(|_| ends(message)).ok()).collect();
        let asked: Vec<Option<Asked<'_>>> = (numbered.iter().zip(messages))
            .map_while(|(numbered, message)| numbered.asked().map_err(|_| ends(message)).ok())
            .collect();
        let permit = callers.authorize_verify(credential);
        let questions: Vec<Result<Question<'_>, RpcError>> = asked
            .iter()
            .map(|asked| Ok(asked.as_ref().ok_or_else(|| RpcError::invalid("request", REQUIRED))?.question()?))
            .collect();
        // An answer is about as long as its question.
        out.reserve(messages.iter().map(|message| message.len()).sum());
        match &permit {
            Ok(permit) => self.answer_on_stream(permit, &numbered, &asked, &questions, out),
            Err(failure) => {
                for (numbered, _) in numbered.iter().zip(&asked) {
                    say(numbered, out, |out| answer::error(failure, out));
                }
            }
        }
        end
    }

    fn answer_on_stream(
        &self,
        permit: &Permit,
        numbered: &[Numbered<'_>],
        asked: &[Option<Asked<'_>>],
        questions: &[Result<Question<'_>, RpcError>],
        out: &mut Vec<u8>,
    ) {
        let index = self.read();
        let asked = asked.iter().zip(questions);
        let good = asked.filter_map(|(asked, question)| Some((asked.as_ref()?.token, question.as_ref().ok()?)));
        let all = self.decide_all(&index, permit, good);
        let mut decided = all.iter();
        for (numbered, question) in numbered.iter().zip(questions) {
            say(numbered, out, |out| match question {
                Ok(question) => decided.next().into_iter().for_each(|decided| {
                    answer::nested(answer::STREAM_RESPONSE, &Answer::of(permit, decided, question), out);
                }),
                Err(failure) => answer::error(failure, out),
            });
        }
        for decided in &all {
            self.count(permit, decided);
        }
    }
}

/// Appends the answer to one question.
fn say(numbered: &Numbered<'_>, out: &mut Vec<u8>, answer: impl FnOnce(&mut Vec<u8>)) {
    let Ok(()) = message::append::<Infallible>(out, |out| {
        answer::numbered(numbered.id, out);
        answer(out);
        Ok(())
    });
}
