//! The three methods of Verify on encoded messages: decode, decide, encode, count.

use std::sync::Arc;

use key_authority_domain::verdict::Question;
use key_authority_proto::v1;
use prost::Message;

use super::decode::{self, StreamRequestRef, VerifyRequestRef};
use super::encode::{self, Answer};
use super::engine::Verifier;
use crate::auth::credential::Authentication;
use crate::auth::permit::{Authorizer, Permit};
use crate::rpc::decode_errors;
use crate::rpc::errors::RpcError;
use crate::rpc::raw::{Admission, RawMethod, RawMethods, StreamMethod, UnaryMethod, frame};
use crate::wire::methods::path;
use crate::wire::violations::REQUIRED;

/// The largest question, in bytes; a question with every field at its limit fits.
const QUESTION_BYTES_MAX: usize = 64 * 1024;
/// The largest batch, in bytes; a batch of ordinary questions fits.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest response to a batch, in bytes: the default limit of clients. A key may have 50 KiB of scopes and labels,
/// and a batch may contain one key a thousand times.
const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024 - 64 * 1024;

/// Returns `Verify`, `BatchVerify` and `VerifyStream`.
#[must_use]
pub(crate) fn methods(authorizer: &Arc<Authorizer>, verifier: &Arc<Verifier>) -> RawMethods<Authentication> {
    let shared = Shared { authorizer: Arc::clone(authorizer), verifier: Arc::clone(verifier) };
    let by_path = vec![
        (path("Verify"), RawMethod::Unary(Arc::new(Verify(shared.clone())))),
        (path("BatchVerify"), RawMethod::Unary(Arc::new(BatchVerify(shared.clone())))),
        (path("VerifyStream"), RawMethod::Stream(Arc::new(VerifyStream(shared)))),
    ];
    RawMethods::new(by_path)
}

#[derive(Clone)]
struct Shared {
    authorizer: Arc<Authorizer>,
    verifier: Arc<Verifier>,
}

struct Verify(Shared);
struct BatchVerify(Shared);
struct VerifyStream(Shared);

impl UnaryMethod<Authentication> for Verify {
    fn request_bytes_max(&self) -> usize {
        QUESTION_BYTES_MAX
    }

    fn call(&self, caller: &Authentication, message: &[u8], out: &mut Vec<u8>) -> Result<(), RpcError> {
        let permit = self.0.authorizer.authorize_verify(caller)?;
        self.0.verifier.verify(&permit, message, out)
    }
}

impl UnaryMethod<Authentication> for BatchVerify {
    fn request_bytes_max(&self) -> usize {
        BATCH_BYTES_MAX
    }

    fn admit(&self, caller: &Authentication) -> Result<Admission, RpcError> {
        // An unknown caller must not make the server buffer megabytes.
        self.0.authorizer.identify(caller)?;
        // A batch takes as long as a thousand questions.
        Ok(Admission::Spawned)
    }

    fn call(&self, caller: &Authentication, message: &[u8], out: &mut Vec<u8>) -> Result<(), RpcError> {
        let permit = self.0.authorizer.authorize_verify(caller)?;
        self.0.verifier.batch_verify(&permit, message, out)
    }
}

impl StreamMethod<Authentication> for VerifyStream {
    fn request_bytes_max(&self) -> usize {
        QUESTION_BYTES_MAX
    }

    fn admit(&self, caller: &Authentication) -> Result<(), RpcError> {
        self.0.authorizer.authorize_verify(caller).map(drop)
    }

    fn answer(&self, caller: &Authentication, messages: &[&[u8]], out: &mut Vec<u8>) -> Result<(), RpcError> {
        // The caller is authorized for each chunk, since its key may be revoked in the meantime.
        let permit = self.0.authorizer.authorize_verify(caller);
        self.0.verifier.verify_on_stream(&permit, messages, out)
    }
}

impl Verifier {
    /// Answers a `VerifyRequest`: appends a `VerifyResponse` to `out`.
    ///
    /// # Errors
    /// When the message does not decode, a field violates its rule, or this replica lacks a version of the secret.
    pub fn verify(&self, permit: &Permit, message: &[u8], out: &mut Vec<u8>) -> Result<(), RpcError> {
        let request = VerifyRequestRef::read(message).map_err(|_| undecodable::<v1::VerifyRequest>(message))?;
        let question = request.question()?;
        let index = self.read();
        let decision = self.decide(&index, permit, request.token, &question)?;
        Answer::of(permit, &decision, &question).write(out);
        self.count(permit, &decision);
        Ok(())
    }

    /// Answers a `BatchVerifyRequest`, in order: appends a `BatchVerifyResponse` to `out`.
    ///
    /// # Errors
    /// When the message does not decode, a field of any question violates its rule, this replica lacks a version of the
    /// secret, or the response would be too large.
    pub fn batch_verify(&self, permit: &Permit, message: &[u8], out: &mut Vec<u8>) -> Result<(), RpcError> {
        let batch = decode::batch(message).map_err(|_| undecodable::<v1::BatchVerifyRequest>(message))?;
        let questions = decode::questions(&batch)?;
        let index = self.read();
        let tokens = batch.iter().zip(&questions).map(|(request, question)| (request.token, question));
        let decisions = self.decide_all(&index, permit, tokens).into_iter().collect::<Result<Vec<_>, _>>()?;
        let begin = out.len();
        // A response is about as long as its question.
        out.reserve(message.len());
        for (decision, question) in decisions.iter().zip(&questions) {
            encode::nested(encode::BATCH_RESPONSES, &Answer::of(permit, decision, question), out);
            if out.len() - begin > RESPONSE_BYTES_MAX {
                return Err(RpcError::ResponseTooLarge);
            }
        }
        // Decisions are counted only now: a batch succeeds or fails as a whole, and a failed batch is no use of a key.
        for decision in &decisions {
            self.count(permit, decision);
        }
        Ok(())
    }

    /// Answers `messages` of a stream, each a `VerifyStreamRequest`: appends a framed `VerifyStreamResponse` for each
    /// to `out`. A question that cannot be decided, for example without a permit, is answered with an error.
    ///
    /// # Errors
    /// When a message does not decode; the messages before it are answered.
    pub(crate) fn verify_on_stream(
        &self,
        permit: &Result<Permit, RpcError>,
        messages: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> Result<(), RpcError> {
        let mut result = Ok(());
        let mut fail = |message: &[u8]| result = Err(undecodable::<v1::VerifyStreamRequest>(message));
        let requests: Vec<StreamRequestRef<'_>> = messages
            .iter()
            .map_while(|message| decode::stream_request(message).map_err(|_| fail(message)).ok())
            .collect();
        let bodies: Vec<Option<VerifyRequestRef<'_>>> = (requests.iter().zip(messages))
            .map_while(|(request, message)| request.body().map_err(|_| fail(message)).ok())
            .collect();
        let questions: Vec<Result<Question<'_>, RpcError>> = bodies
            .iter()
            .map(|body| Ok(body.as_ref().ok_or_else(|| RpcError::invalid("request", REQUIRED))?.question()?))
            .collect();
        // A response is about as long as its question.
        out.reserve(messages.iter().map(|message| message.len()).sum());
        match permit {
            Ok(permit) => self.answer_on_stream(permit, &requests, &bodies, &questions, out),
            Err(error) => {
                for (request, _) in requests.iter().zip(&bodies) {
                    append(request, out, |out| encode::error(error, out));
                }
            }
        }
        result
    }

    fn answer_on_stream(
        &self,
        permit: &Permit,
        requests: &[StreamRequestRef<'_>],
        bodies: &[Option<VerifyRequestRef<'_>>],
        questions: &[Result<Question<'_>, RpcError>],
        out: &mut Vec<u8>,
    ) {
        let index = self.read();
        let valid = bodies
            .iter()
            .zip(questions)
            .filter_map(|(body, question)| Some((body.as_ref()?.token, question.as_ref().ok()?)));
        let decisions = self.decide_all(&index, permit, valid);
        let mut decided = decisions.iter();
        for (request, question) in requests.iter().zip(questions) {
            append(request, out, |out| match question {
                Ok(question) => decided.next().into_iter().for_each(|decision| match decision {
                    Ok(decision) => {
                        encode::nested(encode::STREAM_RESPONSE, &Answer::of(permit, decision, question), out);
                    }
                    Err(missing) => encode::error(&RpcError::from(*missing), out),
                }),
                Err(error) => encode::error(error, out),
            });
        }
        for decision in decisions.iter().flatten() {
            self.count(permit, decision);
        }
    }
}

/// Appends the framed response to one message of a stream.
fn append(request: &StreamRequestRef<'_>, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    frame::append_infallible(out, |out| {
        encode::stream_id(request.id, out);
        write(out);
    });
}

/// Returns why `message` does not decode as an `M`, with the message of tonic's decoder.
fn undecodable<M: Message + Default>(message: &[u8]) -> RpcError {
    match M::decode(message) {
        Err(error) => decode_errors::undecodable(&error),
        // Tests ensure that both decoders agree; if they do not, the message counts as malformed.
        Ok(_) => decode_errors::unframed(),
    }
}
