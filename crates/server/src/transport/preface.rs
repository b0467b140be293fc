//! The HTTP/2 preface: the first 24 bytes of a connection, which show whether the peer speaks HTTP/2.
//!
//! hyper waits for them without a time limit, so this module reads them under the caller's timeout.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The first bytes of every HTTP/2 client (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/2; its preface was read.
    Http2,
    /// Another one, presumably HTTP/1.1, with the bytes that were read.
    Other(Vec<u8>),
}

/// Reads the preface, or the first bytes of something else. A wrong byte is detected at once, not after 24 bytes.
///
/// # Errors
/// When the stream ends or fails first.
pub(super) async fn read<IO: AsyncRead + Unpin>(io: &mut IO) -> io::Result<Protocol> {
    let (mut buffer, mut len) = ([0; PREFACE.len()], 0);
    while len < PREFACE.len() {
        let (_, room) = buffer.split_at_mut(len);
        let count = io.read(room).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        len += count;
        let (received, _) = buffer.split_at(len);
        if !PREFACE.starts_with(received) {
            return Ok(Protocol::Other(received.to_vec()));
        }
    }
    Ok(Protocol::Http2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_preface_is_read() {
        let sent = [PREFACE, b"settings"].concat();
        let mut stream = sent.as_slice();
        assert_eq!(read(&mut stream).await.unwrap(), Protocol::Http2);
        assert_eq!(stream, b"settings");
    }

    #[tokio::test]
    async fn another_protocol_is_detected_before_its_24th_byte() {
        assert_eq!(read(&mut &b"GET"[..]).await.unwrap(), Protocol::Other(b"GET".to_vec()));
        assert_eq!(read(&mut &b"PRI * HTTP/1.1"[..]).await.unwrap(), Protocol::Other(b"PRI * HTTP/1.1".to_vec()));
        let error = read(&mut &b"PRI"[..]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
