//! gRPC's length-prefixed messages, and the requests that most attacks send.

use bytes::{BufMut as _, Bytes, BytesMut};
use key_authority_proto::v1;
use prost::Message;

/// The path of a method of the service.
pub(crate) fn path(method: &str) -> String {
    format!("/keyauthority.v1.KeyAuthority/{method}")
}

/// The path of `Watch` of the health service.
pub(crate) const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// The path of reflection.
pub(crate) const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
/// The path of Envoy's question.
pub(crate) const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// A framed message.
pub(crate) fn frame(message: &impl Message) -> Bytes {
    frame_bytes(&message.encode_to_vec())
}

/// A framed message of these bytes.
pub(crate) fn frame_bytes(message: &[u8]) -> Bytes {
    let mut frame = announce(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(message);
    frame.freeze()
}

/// The prefix of a message of this length, without the message.
pub(crate) fn announce(length: u32) -> BytesMut {
    let mut prefix = BytesMut::with_capacity(5);
    prefix.put_u8(0);
    prefix.put_u32(length);
    prefix
}

/// A field of type `string` or `bytes`, for messages without generated types. The number is at most 15.
pub(crate) fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(value.len() as u64, &mut bytes);
    bytes.extend_from_slice(value);
    bytes
}

/// A question about a token, without scopes.
pub(crate) fn verify(token: &str) -> v1::VerifyRequest {
    v1::VerifyRequest { token: token.to_owned(), ..v1::VerifyRequest::default() }
}

/// A batch of questions about one token.
pub(crate) fn batch(token: &str, questions: usize) -> v1::BatchVerifyRequest {
    v1::BatchVerifyRequest { requests: vec![verify(token); questions] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_encoded_as_prost_encodes_it() {
        let message = verify(&"t".repeat(300));
        assert_eq!(field(1, message.token.as_bytes()), message.encode_to_vec());
        assert_eq!(frame(&message)[..5], [0, 0, 0, 1, 47]);
    }
}
