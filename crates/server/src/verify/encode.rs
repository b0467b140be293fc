//! The responses of Verify, encoded once, into the buffer that is sent.

use key_authority_domain::id::Revision;
use key_authority_domain::verdict::{Question, Verdict};
use key_authority_proto::v1;
use key_authority_replica::index::KeyRecord;
use prost::encoding::{WireType, encode_varint, encoded_len_varint};

use super::decode::verdict_to_proto;
use super::engine::Decision;
use crate::auth::permit::Permit;
use crate::rpc::errors::RpcError;
use crate::wire;

/// Field `responses` of `BatchVerifyResponse`.
pub(super) const BATCH_RESPONSES: u32 = 1;
/// Field `response` of `VerifyStreamResponse`.
pub(super) const STREAM_RESPONSE: u32 = 2;

/// A `VerifyResponse` that is not encoded yet.
pub(super) struct Answer<'a> {
    verdict: Verdict,
    key: Option<&'a KeyRecord>,
    question: &'a Question<'a>,
    revision: Revision,
}

impl<'a> Answer<'a> {
    pub(super) fn of(permit: &Permit, decision: &Decision<'a>, question: &'a Question<'a>) -> Self {
        // No fact about a key may leave before its secret has matched.
        let key = decision.key.map(AsRef::as_ref).filter(|_| decision.verdict != Verdict::Unknown);
        Self { verdict: decision.verdict, key, question, revision: permit.lease().revision() }
    }

    /// Appends the response.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        number(1, verdict_to_proto(self.verdict) as u64, out);
        number(5, wire::revision::number(self.revision), out);
        let Some(key) = self.key else { return };
        text(2, key.id().as_str(), out);
        if self.verdict != Verdict::Valid {
            text(3, key.account().as_str(), out);
            if self.verdict == Verdict::ScopeDenied {
                key.access().missing_scopes(self.question.scopes).for_each(|scope| text(8, scope, out));
            }
            return;
        }
        if let Some(end) = key.end() {
            let end = wire::time::timestamp_to_proto(end);
            prost::encoding::message::encode(6, &end, out);
        }
        out.extend_from_slice(&key.encoded(shared_fields));
    }
}

/// Returns the fields that are the same for all keys with the same attributes as this one.
fn shared_fields(key: &KeyRecord) -> Vec<u8> {
    let mut out = Vec::new();
    text(3, key.account().as_str(), &mut out);
    key.access().scopes.iter().for_each(|scope| text(4, scope.as_str(), &mut out));
    key.labels().for_each(|(name, value)| entry(7, name, value, &mut out));
    out
}

/// Appends a response as the field `tag` of an enclosing message.
pub(super) fn nested(tag: u32, answer: &Answer<'_>, out: &mut Vec<u8>) {
    field(tag, WireType::LengthDelimited, out);
    // The length comes first but is not known yet. One byte is reserved for it, which is nearly always enough.
    let at = out.len();
    out.push(0);
    answer.write(out);
    let len = (out.len() - at - 1) as u64;
    let more = encoded_len_varint(len) - 1;
    if more > 0 {
        out.splice(at..at, std::iter::repeat_n(0, more));
    }
    if let Some(mut field) = out.get_mut(at..) {
        encode_varint(len, &mut field);
    }
}

/// Appends the ID of a `VerifyStreamResponse`.
pub(super) fn stream_id(id: u64, out: &mut Vec<u8>) {
    number(1, id, out);
}

/// Appends the error of a `VerifyStreamResponse` that has no response.
pub(super) fn error(error: &RpcError, out: &mut Vec<u8>) {
    let (code, reason) = error.code();
    let stream_error = v1::StreamError { code: code.into(), reason: reason.to_owned(), message: error.message() };
    prost::encoding::message::encode(3, &stream_error, out);
}

/// Appends a number; protobuf omits a number that is 0.
fn number(tag: u32, number: u64, out: &mut Vec<u8>) {
    if number != 0 {
        field(tag, WireType::Varint, out);
        varint(number, out);
    }
}

/// Appends an entry of a map; protobuf omits an empty text.
fn entry(tag: u32, name: &str, value: &str, out: &mut Vec<u8>) {
    let texts = [(1, name), (2, value)].into_iter().filter(|(_, text)| !text.is_empty());
    // Each text has a byte for its tag, and its length.
    let len: usize = texts.clone().map(|(_, text)| 1 + encoded_len_varint(text.len() as u64) + text.len()).sum();
    field(tag, WireType::LengthDelimited, out);
    varint(len as u64, out);
    texts.for_each(|(tag, content)| text(tag, content, out));
}

fn text(tag: u32, text: &str, out: &mut Vec<u8>) {
    field(tag, WireType::LengthDelimited, out);
    varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn field(tag: u32, wire_type: WireType, out: &mut Vec<u8>) {
    varint(u64::from(tag << 3 | wire_type as u32), out);
}

/// Appends a varint. Nearly all numbers take one byte, which is faster than `prost` in that case.
fn varint(number: u64, out: &mut Vec<u8>) {
    match u8::try_from(number) {
        Ok(byte) if byte < 0x80 => out.push(byte),
        _ => encode_varint(number, out),
    }
}
