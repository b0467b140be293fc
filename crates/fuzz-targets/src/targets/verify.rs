//! The three methods of Verify from message to message: they give the same answer, which prost decodes.

use key_authority_proto::v1;
use key_authority_server::testing::untrusted;
use prost::Message;

use super::{question, resident};
use crate::Target;

/// The reader with its rule.
pub static TARGET: Target = Target {
    name: "verify",
    run,
    seeds,
    dictionary: &[b"bench_", b"orders:read", b"account-001", b"bench_00000001", b"\x0a\x00", b"\x1a\x00"],
    memory: (65_536, 512),
};

fn run(input: &[u8]) {
    let Some(authority) = resident::authority() else { return };
    let permit = || authority.resident.callers.authorize_verify(&authority.caller);
    // Without a lease nothing is answered; a machine that is busy elsewhere may lose it for a moment.
    let (Ok(permit), Ok(stream_permit)) = (permit(), permit()) else { return };
    let verifier = &authority.resident.verifier;

    let mut alone = Vec::new();
    let is_ok = verifier.verify(&permit, input, &mut alone).is_ok();
    let alone = is_ok.then(|| v1::VerifyResponse::decode(&alone[..]));
    assert!(!matches!(alone, Some(Err(_))), "not a response");
    let alone = alone.and_then(Result::ok);

    let Ok(request) = v1::VerifyRequest::decode(input) else {
        assert!(alone.is_none(), "an answer to no question");
        return;
    };
    let mut batch = Vec::new();
    let message = v1::BatchVerifyRequest { requests: vec![request.clone(); 2] }.encode_to_vec();
    let is_ok = verifier.batch_verify(&permit, &message, &mut batch).is_ok();
    let batch = is_ok.then(|| v1::BatchVerifyResponse::decode(&batch[..]).unwrap_or_default().responses);
    let twice = alone.as_ref().map(|alone| vec![timeless(alone), timeless(alone)]);
    assert_eq!(batch.map(|all| all.iter().map(timeless).collect::<Vec<_>>()), twice);

    let message = v1::VerifyStreamRequest { id: 7, request: Some(request) }.encode_to_vec();
    let framed = untrusted::verify_on_stream(verifier, stream_permit, &[&message]).unwrap_or_default();
    let streamed = framed.get(5..).map(v1::VerifyStreamResponse::decode).and_then(Result::ok).unwrap_or_default();
    let answer = streamed.outcome.and_then(|outcome| match outcome {
        v1::verify_stream_response::Outcome::Response(response) => Some(timeless(&response)),
        v1::verify_stream_response::Outcome::Error(_) => None,
    });
    assert_eq!(answer, alone.as_ref().map(timeless));
}

/// The response without the revision, which a replica may learn of between two calls.
fn timeless(response: &v1::VerifyResponse) -> v1::VerifyResponse {
    v1::VerifyResponse { revision: 0, ..response.clone() }
}

fn seeds() -> Vec<Vec<u8>> {
    let valid = v1::VerifyRequest { token: resident::token(1), ..Default::default() };
    let mut questions = question::questions();
    questions.extend([
        v1::VerifyRequest { scopes: vec!["orders:read".into()], ..valid.clone() },
        v1::VerifyRequest { scopes: vec!["a".into(), "b".into(), "a".into()], ..valid.clone() },
        v1::VerifyRequest { account: "account-001".into(), key_id: "bench_00000001".into(), ..valid.clone() },
        v1::VerifyRequest { account: "account-002".into(), ..valid.clone() },
        v1::VerifyRequest { project: "p".into(), client_ip: "10.0.0.1".into(), ..valid.clone() },
        v1::VerifyRequest { token: resident::token(99), ..Default::default() },
        valid,
    ]);
    questions.iter().map(Message::encode_to_vec).collect()
}
