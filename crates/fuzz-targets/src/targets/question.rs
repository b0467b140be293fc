//! The decoder of Verify's requests, which borrows, against prost: the same bytes are accepted, with the same fields.

use key_authority_domain::access::SCOPES_MAX;
use key_authority_proto::v1;
use key_authority_server::testing::untrusted;
use prost::Message;

use crate::Target;

const DICTIONARY: &[&[u8]] =
    &[b"\x0a\x00", b"\x12\x00", b"\x38\x01", b"\x3b\x3c", b"\x80\x80\x80\x80\x10", b"\xff\xff\xff\xff\x0f"];
const MEMORY: (u64, u64) = (65_536, 512);

/// The decoder of `VerifyRequest`.
pub static VERIFY: Target =
    Target { name: "verify_request", run: verify, seeds: verify_seeds, dictionary: DICTIONARY, memory: MEMORY };
/// The decoder of `BatchVerifyRequest`.
pub static BATCH: Target =
    Target { name: "batch_verify_request", run: batch, seeds: batch_seeds, dictionary: DICTIONARY, memory: MEMORY };
/// The decoder of `VerifyStreamRequest`.
pub static STREAM: Target =
    Target { name: "verify_stream_request", run: stream, seeds: stream_seeds, dictionary: DICTIONARY, memory: MEMORY };

fn verify(input: &[u8]) {
    assert_eq!(untrusted::verify_request(input), v1::VerifyRequest::decode(input).ok().map(bounded));
}

/// Of too many scopes, ours returns one more than allowed.
fn bounded(mut request: v1::VerifyRequest) -> v1::VerifyRequest {
    request.scopes.truncate(SCOPES_MAX + 1);
    request
}

fn batch(input: &[u8]) {
    let theirs = v1::BatchVerifyRequest::decode(input).ok().map(|mut batch| {
        batch.requests.truncate(untrusted::BATCH_MAX + 1);
        batch.requests = batch.requests.into_iter().map(bounded).collect();
        batch
    });
    assert_eq!(untrusted::batch_verify_request(input), theirs);
}

fn stream(input: &[u8]) {
    let theirs = v1::VerifyStreamRequest::decode(input).ok().map(|mut message| {
        message.request = message.request.map(bounded);
        message
    });
    assert_eq!(untrusted::verify_stream_request(input), theirs);
}

/// Questions with every field, with none, at limits and over them.
pub(crate) fn questions() -> Vec<v1::VerifyRequest> {
    let whole = v1::VerifyRequest {
        token: "ka_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcd4Xyz12".into(),
        project: "checkout".into(),
        scopes: vec!["orders:read".into(), "é".into(), String::new()],
        client_ip: "2001:db8::1".into(),
        account: "acme".into(),
        key_id: "key_1".into(),
    };
    vec![
        v1::VerifyRequest::default(),
        v1::VerifyRequest { client_ip: "192.0.2.7:80".into(), ..whole.clone() },
        v1::VerifyRequest { scopes: vec!["s".into(); 101], ..Default::default() },
        v1::VerifyRequest { project: "é".repeat(257), ..Default::default() },
        whole,
    ]
}

/// An unknown field of groups within groups.
fn groups(depth: usize) -> Vec<u8> {
    [b"\x3b".repeat(depth), b"\x3c".repeat(depth)].concat()
}

/// A field of type `bytes`.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    [bytes, content.to_vec()].concat()
}

fn verify_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = questions().iter().map(Message::encode_to_vec).collect();
    // Twice the same field, fields of other types, an unknown field, no UTF-8, a length beyond the end.
    seeds.extend([b"\x0a\x01a\x0a\x01b".to_vec(), b"\x08\x01".to_vec(), b"\x3d\0\0\0\0\x39\0\0\0\0\0\0\0\0".to_vec()]);
    seeds.extend([b"\x0a\x01\xff".to_vec(), b"\x0a\x05ab".to_vec(), b"\x00".to_vec(), b"\x0e".to_vec()]);
    seeds.extend([1, 99, 100, 101].map(groups));
    seeds
}

fn batch_seeds() -> Vec<Vec<u8>> {
    let batch = |requests| v1::BatchVerifyRequest { requests }.encode_to_vec();
    let mut seeds = vec![batch(questions()), batch(vec![]), batch(vec![v1::VerifyRequest::default(); 1002])];
    seeds.extend(verify_seeds().iter().map(|request| field(1, request)));
    seeds.extend(verify_seeds());
    seeds
}

fn stream_seeds() -> Vec<Vec<u8>> {
    let request = |id, request: &v1::VerifyRequest| v1::VerifyStreamRequest { id, request: Some(request.clone()) };
    let mut seeds: Vec<_> =
        questions().iter().enumerate().map(|(id, question)| request(id as u64, question).encode_to_vec()).collect();
    seeds.push(v1::VerifyStreamRequest { id: u64::MAX, request: None }.encode_to_vec());
    seeds.extend(verify_seeds().iter().map(|request| field(2, request)));
    // A question in two parts, each whole, and in two that are whole only together.
    seeds.push([field(2, b"\x0a\x01a"), field(2, b"\x12\x01p\x0a\x01b")].concat());
    seeds.push([field(2, b"\x0a\x05ab"), field(2, b"cde")].concat());
    seeds.push([field(2, b"\x3b"), field(2, b"\x3c")].concat());
    seeds
}
