//! The hot handlers: Verify, one by one, in a batch, or over a stream.
//!
//! Nothing here awaits a database, takes a lock that a writer holds, or formats a text that is not sent. A question goes
//! the way bytes → shape and checksum → digest → one look-up under the lease → `decide` → bytes. The three methods are
//! reached through [`door`], past the general machinery of gRPC; it is the same three functions that answer there and here.

pub mod answer;
pub mod door;
pub mod message;
mod stream;
mod unary;

use std::sync::Arc;

use key_authority_domain::foreign::Scheme;
use key_authority_domain::secret::Keyring;
use key_authority_domain::token::{Malformed, Token};
use key_authority_domain::verdict::{Question, Verdict, decide};
use key_authority_proto::v1;
use key_authority_replica::index::{Reading, ResidentSecret};
use key_authority_replica::{Moment, View};
use prost::Message;

use crate::caller::{Callers, Credential, Permit};
use crate::malformed;
use crate::metrics::SharedMetrics;
use crate::status::Failure;
use crate::wire::verify::{self as wire, Asked, Numbered};
use crate::wire::violations::REQUIRED;
use answer::Answer;

/// The largest answer to a batch, in bytes: what clients read by default. A key may have scopes and labels of 50 KiB, and a
/// batch may ask for one key a thousand times.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024 - 64 * 1024;

/// Answers questions about tokens from memory.
pub struct Verifier {
    view: Arc<View>,
    keyring: Arc<Keyring>,
    metrics: SharedMetrics,
}

/// What was decided, and is not counted yet.
pub struct Decided<'a> {
    /// The decision.
    pub verdict: Verdict,
    /// The secret that matched, if the caller may know of it.
    pub secret: Option<&'a Arc<ResidentSecret>>,
}

impl Verifier {
    /// Answers by what the replica knows.
    #[must_use]
    pub fn new(view: Arc<View>, keyring: Arc<Keyring>, metrics: SharedMetrics) -> Self {
        Self { view, keyring, metrics }
    }

    /// Answers a `VerifyRequest`: appends a `VerifyResponse` to `out`.
    ///
    /// # Errors
    /// When the message is none, or a field breaks its rule.
    pub fn verify(&self, permit: &Permit, message: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let asked = Asked::read(message).map_err(|_| undecodable::<v1::VerifyRequest>(message))?;
        let question = asked.question()?;
        let index = self.read();
        let decided = self.decide(&index, permit, asked.token, &question);
        Answer::of(permit, &decided, &question).write(out);
        self.count(permit, &decided);
        Ok(())
    }

    /// Answers a `BatchVerifyRequest`, in order: appends a `BatchVerifyResponse` to `out`.
    ///
    /// # Errors
    /// When the message is none, a field of any question breaks its rule, or the answer would be too large.
    pub fn batch_verify(&self, permit: &Permit, message: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let batch = wire::batch(message).map_err(|_| undecodable::<v1::BatchVerifyRequest>(message))?;
        let questions = wire::questions(&batch)?;
        let index = self.read();
        let began = out.len();
        let mut all = Vec::with_capacity(batch.len());
        for (asked, question) in batch.iter().zip(&questions) {
            let decided = self.decide(&index, permit, asked.token, question);
            answer::nested(answer::BATCH_RESPONSES, &Answer::of(permit, &decided, question), out);
            if out.len() - began > ANSWER_BYTES_MAX {
                return Err(Failure::AnswerTooLarge);
            }
            all.push(decided);
        }
        // Only now: a batch is answered whole or not at all, and what is not answered is no use of a key.
        for decided in &all {
            self.count(permit, decided);
        }
        Ok(())
    }

    /// Answers a `VerifyStreamRequest`: appends a `VerifyStreamResponse` to `out`. The caller is judged again for each
    /// question, since its key may be revoked meanwhile.
    ///
    /// # Errors
    /// When the message is none. A question that cannot be answered is answered with that.
    pub fn verify_on_stream(
        &self,
        callers: &Callers,
        credential: &Credential,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let malformed = |_| undecodable::<v1::VerifyStreamRequest>(message);
        let Numbered { id, request } = wire::numbered(message).map_err(malformed)?;
        let asked = request.as_deref().map(Asked::read).transpose().map_err(malformed)?;
        answer::numbered(id, out);
        let outcome = callers.permit_verify(credential).and_then(|permit| {
            let asked = asked.as_ref().ok_or_else(|| Failure::invalid("request", REQUIRED))?;
            let question = asked.question()?;
            let index = self.read();
            let decided = self.decide(&index, &permit, asked.token, &question);
            answer::nested(answer::STREAM_RESPONSE, &Answer::of(&permit, &decided, &question), out);
            self.count(&permit, &decided);
            Ok(())
        });
        if let Err(failure) = outcome {
            answer::error(&failure, out);
        }
        Ok(())
    }

    /// Opens the index for the questions of one step.
    #[must_use]
    pub fn read(&self) -> Reading<'_> {
        self.view.index().read()
    }

    /// Decides a question.
    #[must_use]
    pub fn decide<'a>(
        &self,
        index: &'a Reading<'_>,
        permit: &Permit,
        token: &str,
        question: &Question<'_>,
    ) -> Decided<'a> {
        let moment = permit.moment();
        let Ok(secret) = self.find(index, moment, token) else {
            return Decided { verdict: Verdict::Malformed, secret: None };
        };
        let secret = secret.filter(|secret| permit.covers(secret.account()));
        let verdict = decide(secret.map(|secret| secret.standing()).as_ref(), question, moment.now());
        Decided { verdict, secret }
    }

    /// Looks a token up: as one of ours and, while such are resident, as one that another system issued.
    fn find<'a>(
        &self,
        index: &'a Reading<'_>,
        moment: Moment,
        text: &str,
    ) -> Result<Option<&'a Arc<ResidentSecret>>, Malformed> {
        let ours = Token::parse(text);
        if let Ok(token) = ours
            && let Some(secret) = index.find(moment, self.keyring.digests(token))
        {
            return Ok(Some(secret));
        }
        // One that parses as ours was looked up whole.
        let is_worth =
            |scheme: &Scheme| self.view.index().has_any(*scheme) && (*scheme != Scheme::Whole || ours.is_err());
        let mut schemes = Scheme::FOREIGN.into_iter().filter(is_worth).peekable();
        if schemes.peek().is_none() {
            return ours.map(|_| None);
        }
        let token = Token::parse_any(text)?;
        Ok(schemes.find_map(|scheme| index.find(moment, self.keyring.digests_as(scheme, token))))
    }

    /// Counts what is about to be answered.
    pub fn count(&self, permit: &Permit, Decided { verdict, secret }: &Decided<'_>) {
        self.metrics.verified(*verdict as usize, 1);
        if let (Verdict::Valid, Some(secret)) = (verdict, secret) {
            self.view.note_use(secret, permit.moment().now());
        }
    }
}

/// Why `message` is no `M`, in the words of the general decoder.
fn undecodable<M: Message + Default>(message: &[u8]) -> Failure {
    match M::decode(message) {
        Err(error) => malformed::undecodable(&error),
        // The two decoders do not agree; neither does what follows.
        Ok(_) => malformed::unframed(),
    }
}
