//! The hot handlers: Verify, one by one, in a batch, or over a stream.
//!
//! Nothing here awaits a database, takes a lock that a writer holds, or formats a text that is not sent. A question goes
//! the way bytes → shape and checksum → digest → one look-up under the lease → `decide` → bytes. The three methods are
//! reached through [`door`], past the general machinery of gRPC; it is the same three functions that answer there and here.

pub mod answer;
pub mod door;
pub mod message;
mod stream;
mod together;
mod unary;

use std::sync::Arc;

use key_authority_domain::foreign::Scheme;
use key_authority_domain::secret::Keyring;
use key_authority_domain::token::{Malformed, Presented, Token, TokenDigest};
use key_authority_domain::verdict::{KeyFacts, Question, Verdict, decide};
use key_authority_proto::v1;
use key_authority_replica::index::{IndexGuard, Record};
use key_authority_replica::{LeaseProof, ReplicaState};
use prost::Message;

use crate::auth::permit::{Permit, Rights};
use crate::observability::metrics::SharedMetrics;
use crate::rpc::decode_errors;
use crate::rpc::errors::RpcError;
use crate::wire::verify::{self as wire, Asked};
use answer::Answer;

/// The largest answer to a batch, in bytes: what clients read by default. A key may have scopes and labels of 50 KiB, and a
/// batch may ask for one key a thousand times.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024 - 64 * 1024;

/// Answers questions about tokens from memory.
pub struct Verifier {
    view: Arc<ReplicaState>,
    keyring: Arc<Keyring>,
    metrics: SharedMetrics,
}

/// What was decided, and is not counted yet.
pub struct Decided<'a> {
    /// The decision.
    pub verdict: Verdict,
    /// The secret that matched, if the caller may know of it.
    pub secret: Option<&'a Record>,
}

/// A token that is being looked up.
struct Sought<'t> {
    text: &'t str,
    ours: Result<Presented<'t>, Malformed>,
    /// Under the newest authority secret, if it may be a token of ours.
    digest: Option<TokenDigest>,
}

/// A secret that was looked up.
struct Found<'a> {
    secret: &'a Record,
    facts: KeyFacts<'a>,
}

impl<'a> Found<'a> {
    fn of(secret: Option<&'a Record>) -> Option<Self> {
        secret.map(|secret| Self { secret, facts: secret.facts() })
    }
}

/// Decides about what was found.
fn judge<'a>(permit: &Permit, found: Result<Option<Found<'a>>, Malformed>, question: &Question<'_>) -> Decided<'a> {
    let Ok(found) = found else { return Decided { verdict: Verdict::Malformed, secret: None } };
    let found = found.filter(|found| permit.covers(found.secret.account()));
    let verdict = decide(found.as_ref().map(|found| &found.facts), question, permit.moment().now());
    Decided { verdict, secret: found.map(|found| found.secret) }
}

impl Verifier {
    /// Answers by what the replica knows.
    #[must_use]
    pub fn new(view: Arc<ReplicaState>, keyring: Arc<Keyring>, metrics: SharedMetrics) -> Self {
        Self { view, keyring, metrics }
    }

    /// Answers a `VerifyRequest`: appends a `VerifyResponse` to `out`.
    ///
    /// # Errors
    /// When the message is none, or a field breaks its rule.
    pub fn verify(&self, permit: &Permit, message: &[u8], out: &mut Vec<u8>) -> Result<(), RpcError> {
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
    pub fn batch_verify(&self, permit: &Permit, message: &[u8], out: &mut Vec<u8>) -> Result<(), RpcError> {
        let batch = wire::batch(message).map_err(|_| undecodable::<v1::BatchVerifyRequest>(message))?;
        let questions = wire::questions(&batch)?;
        let index = self.read();
        let asked = batch.iter().zip(&questions).map(|(asked, question)| (asked.token, question));
        let all = self.decide_all(&index, permit, asked);
        let began = out.len();
        // An answer is about as long as its question.
        out.reserve(message.len());
        for (decided, question) in all.iter().zip(&questions) {
            answer::nested(answer::BATCH_RESPONSES, &Answer::of(permit, decided, question), out);
            if out.len() - began > ANSWER_BYTES_MAX {
                return Err(RpcError::AnswerTooLarge);
            }
        }
        // Only now: a batch is answered whole or not at all, and what is not answered is no use of a key.
        for decided in &all {
            self.count(permit, decided);
        }
        Ok(())
    }

    /// Opens the index for the questions of one step.
    #[must_use]
    pub fn read(&self) -> IndexGuard<'_> {
        self.view.index().read()
    }

    /// Decides a question.
    #[must_use]
    pub fn decide<'a>(
        &self,
        index: &'a IndexGuard<'_>,
        permit: &Permit,
        token: &str,
        question: &Question<'_>,
    ) -> Decided<'a> {
        let found = self.find(index, permit.moment(), &self.seek(token));
        judge(permit, found.map(Found::of), question)
    }

    /// Reads a token and makes the digest by which it is looked up first.
    fn seek<'t>(&self, text: &'t str) -> Sought<'t> {
        let ours = Token::parse(text);
        Sought { text, ours, digest: ours.ok().map(|token| self.keyring.digest(token)) }
    }

    /// Looks a token up: by one digest, which is all that nearly every token needs, then under older versions of the authority
    /// secret and, while such are resident, as one that another system issued.
    fn find<'a>(
        &self,
        index: &'a IndexGuard<'_>,
        moment: LeaseProof,
        &Sought { text, ours, digest }: &Sought<'_>,
    ) -> Result<Option<&'a Record>, Malformed> {
        if let Some(secret) = index.find(moment, digest) {
            return Ok(Some(secret));
        }
        if let Ok(token) = ours
            && let Some(secret) = index.find(moment, self.keyring.older_digests(token))
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
        Ok(schemes.find_map(|scheme| index.find(moment, self.keyring.digests_for_scheme(scheme, token))))
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
fn undecodable<M: Message + Default>(message: &[u8]) -> RpcError {
    match M::decode(message) {
        Err(error) => decode_errors::undecodable(&error),
        // The two decoders do not agree; neither does what follows.
        Ok(_) => decode_errors::unframed(),
    }
}
