//! Messages as gRPC puts them on the wire: a byte that says whether it is compressed, four of length, the message.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;

use crate::trouble::Trouble;

const HEADER: usize = 5;

/// Appends a message.
pub(super) fn put(message: &impl Message, buffer: &mut BytesMut) -> Result<(), Trouble> {
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(message.encoded_len())?);
    Ok(message.encode(buffer)?)
}

/// One message.
pub(super) fn of(message: &impl Message) -> Result<Bytes, Trouble> {
    let mut buffer = BytesMut::with_capacity(HEADER + message.encoded_len());
    put(message, &mut buffer)?;
    Ok(buffer.freeze())
}

/// Takes the first message off; None when it is not whole yet.
pub(super) fn take(buffer: &mut Bytes) -> Result<Option<Bytes>, Trouble> {
    let Some((header, rest)) = buffer.split_first_chunk::<HEADER>() else { return Ok(None) };
    let [compressed, length @ ..] = *header;
    if compressed != 0 {
        return Err("a compressed message, which nobody asked for".into());
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
    fn messages_come_off_as_they_were_put_and_no_earlier() {
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
