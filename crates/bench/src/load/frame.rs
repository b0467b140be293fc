//! gRPC's length-prefixed messages: one byte for the compression flag, four for the length, the message.

use anyhow::{Result, bail};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;

const HEADER: usize = 5;

/// Appends a message.
pub(super) fn put(message: &impl Message, buffer: &mut BytesMut) -> Result<()> {
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(message.encoded_len())?);
    Ok(message.encode(buffer)?)
}

/// One framed message.
pub(super) fn of(message: &impl Message) -> Result<Bytes> {
    let mut buffer = BytesMut::with_capacity(HEADER + message.encoded_len());
    put(message, &mut buffer)?;
    Ok(buffer.freeze())
}

/// Splits off the first message; None while it is incomplete.
pub(super) fn take(buffer: &mut Bytes) -> Result<Option<Bytes>> {
    let Some((header, rest)) = buffer.split_first_chunk::<HEADER>() else { return Ok(None) };
    let [compressed, length @ ..] = *header;
    if compressed != 0 {
        bail!("unexpected compressed message");
    }
    let length = u32::from_be_bytes(length) as usize;
    if rest.len() < length {
        return Ok(None);
    }
    buffer.advance(HEADER);
    Ok(Some(buffer.split_to(length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use key_authority_proto::v1::VerifyStreamRequest;

    #[test]
    fn messages_are_split_off_in_order_once_they_are_complete() {
        let messages = [1, 2].map(|id| VerifyStreamRequest { id, request: None });
        let mut buffer = BytesMut::new();
        for message in &messages {
            put(message, &mut buffer).unwrap();
        }
        let whole = buffer.freeze();
        let mut part = whole.slice(..whole.len() - 1);
        assert_eq!(take(&mut part).unwrap().unwrap(), messages[0].encode_to_vec());
        assert_eq!(take(&mut part).unwrap(), None);
        let mut rest = whole.slice(of(&messages[0]).unwrap().len()..);
        assert_eq!(take(&mut rest).unwrap().unwrap(), messages[1].encode_to_vec());
        assert!(rest.is_empty());
    }
}
