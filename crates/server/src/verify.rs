//! The hot handlers: Verify, one by one, in a batch, or over a stream.
//!
//! Nothing here awaits a database, takes a lock, or formats a text that is not sent. A question goes the way
//! shape and checksum → digest → one look-up under the lease → `decide` → wire.

use std::sync::Arc;

use key_authority_domain::secret::Keyring;
use key_authority_domain::token::Token;
use key_authority_domain::verdict::{Question, Verdict, decide};
use key_authority_proto::v1;
use key_authority_replica::View;
use key_authority_replica::index::ResidentSecret;
use prost::Message;

use crate::caller::Permit;
use crate::metrics::SharedMetrics;
use crate::status::Failure;
use crate::wire;

/// The largest answer to a batch, in bytes: what clients read by default. A key may have scopes and labels of 50 KiB, and a
/// batch may ask for one key a thousand times.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024 - 64 * 1024;

/// Answers questions about tokens from memory.
pub struct Verifier {
    view: Arc<View>,
    keyring: Arc<Keyring>,
    metrics: SharedMetrics,
}

/// A question that is decided, and not counted yet.
struct Decided {
    verdict: Verdict,
    secret: Option<Arc<ResidentSecret>>,
    response: v1::VerifyResponse,
}

impl Verifier {
    /// Answers by what the replica knows.
    #[must_use]
    pub fn new(view: Arc<View>, keyring: Arc<Keyring>, metrics: SharedMetrics) -> Self {
        Self { view, keyring, metrics }
    }

    /// Answers one question.
    ///
    /// # Errors
    /// When a field breaks its rule.
    pub fn answer(&self, permit: &Permit, request: &v1::VerifyRequest) -> Result<v1::VerifyResponse, Failure> {
        Ok(self.count(permit, self.decide(permit, request, &wire::verify::question(request)?)))
    }

    fn decide(&self, permit: &Permit, request: &v1::VerifyRequest, question: &Question<'_>) -> Decided {
        let Ok(token) = Token::parse(&request.token) else {
            return respond(permit, Verdict::Malformed, None, request);
        };
        let moment = permit.moment();
        let secret = self.view.find(moment, self.keyring.digests(token));
        let secret = secret.filter(|secret| permit.covers(secret.account()));
        let verdict = decide(secret.as_ref().map(|secret| secret.standing()).as_ref(), question, moment.now);
        respond(permit, verdict, secret, request)
    }

    /// Counts what is about to be answered.
    fn count(&self, permit: &Permit, Decided { verdict, secret, response }: Decided) -> v1::VerifyResponse {
        self.metrics.verified(verdict as usize, 1);
        if let (Verdict::Valid, Some(secret)) = (verdict, secret) {
            self.view.note_use(&secret, permit.moment().now);
        }
        response
    }

    /// Answers many questions, in their order.
    ///
    /// # Errors
    /// When a field of any breaks its rule, or this replica cannot tell.
    pub fn answer_all(
        &self,
        permit: &Permit,
        request: &v1::BatchVerifyRequest,
    ) -> Result<v1::BatchVerifyResponse, Failure> {
        let questions = wire::verify::batch(request)?;
        let asked = request.requests.iter().zip(&questions);
        let mut all = Vec::with_capacity(questions.len());
        let mut bytes = 0;
        for (request, question) in asked {
            let decided = self.decide(permit, request, question);
            bytes += decided.response.encoded_len();
            if bytes > ANSWER_BYTES_MAX {
                return Err(Failure::AnswerTooLarge);
            }
            all.push(decided);
        }
        // Only now: a batch is answered whole or not at all, and what is not answered is no use of a key.
        let responses = all.into_iter().map(|decided| self.count(permit, decided)).collect();
        Ok(v1::BatchVerifyResponse { responses })
    }
}

fn respond(
    permit: &Permit,
    verdict: Verdict,
    secret: Option<Arc<ResidentSecret>>,
    request: &v1::VerifyRequest,
) -> Decided {
    let mut response = v1::VerifyResponse {
        verdict: wire::verify::verdict_to_proto(verdict).into(),
        revision: wire::revision::number(permit.moment().revision),
        ..Default::default()
    };
    // Nothing about a key is told before its secret has matched.
    if let Some(secret) = secret.as_deref().filter(|_| verdict != Verdict::Unknown) {
        secret.key.id.as_str().clone_into(&mut response.key_id);
        secret.account().as_str().clone_into(&mut response.account);
        match verdict {
            Verdict::Valid => {
                response.scopes = secret.key.access.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
                response.labels.clone_from(&secret.key.labels);
                response.expire_time = secret.end().map(wire::time::timestamp_to_proto);
            }
            Verdict::ScopeDenied => {
                response.missing_scopes = secret.key.access.missing_scopes(&request.scopes).cloned().collect();
            }
            _ => {}
        }
    }
    Decided { verdict, secret, response }
}
