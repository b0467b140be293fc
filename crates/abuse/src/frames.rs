//! HTTP/2 frames and HPACK, written by hand, valid and not.

/// The first bytes of a connection.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The length of a frame's header.
pub(crate) const HEADER: usize = 9;
/// The longest payload that every peer accepts.
pub(crate) const PAYLOAD_MAX: usize = 16 * 1024;

/// A frame. The payload is at most 16 MiB.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&length[1..]);
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header field without indexing and without Huffman coding.
pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut field = vec![0];
    text(name, &mut field);
    text(value, &mut field);
    field
}

/// A header field that the peer must add to its dynamic table.
pub(crate) fn indexed_literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut field = vec![0x40];
    text(name, &mut field);
    text(value, &mut field);
    field
}

/// The header fields of a gRPC call.
pub(crate) fn call(path: &str, token: Option<&str>) -> Vec<u8> {
    // `:method POST` and `:scheme http`, by their places in the static table.
    let mut fields = vec![0x83, 0x86];
    fields.extend(literal(b":path", path.as_bytes()));
    fields.extend(literal(b":authority", b"localhost"));
    fields.extend(literal(b"content-type", b"application/grpc"));
    fields.extend(literal(b"te", b"trailers"));
    if let Some(token) = token {
        fields.extend(literal(b"authorization", format!("Bearer {token}").as_bytes()));
    }
    fields
}

fn text(text: &[u8], buffer: &mut Vec<u8>) {
    // An integer with a prefix of 7 bits.
    if let Ok(length @ 0..127) = u8::try_from(text.len()) {
        buffer.push(length);
    } else {
        buffer.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            buffer.push(u8::try_from(rest % 128).unwrap_or_default() | 0x80);
            rest /= 128;
        }
        buffer.push(u8::try_from(rest).unwrap_or_default());
    }
    buffer.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_length_kind_flags_and_stream() {
        assert_eq!(frame(PING, END_STREAM, 0, &[7; 8])[..10], [0, 0, 8, PING, END_STREAM, 0, 0, 0, 0, 7]);
    }

    #[test]
    fn long_texts_have_long_lengths() {
        // RFC 7541, C.1.2: 1337 in a prefix of 5 bits is 31, 154, 10; in one of 7 bits it is 127, 186, 9.
        let mut buffer = Vec::new();
        text(&[b'x'; 1337], &mut buffer);
        assert_eq!(buffer[..4], [127, 186, 9, b'x']);
    }
}
