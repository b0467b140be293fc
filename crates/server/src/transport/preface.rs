//! The HTTP/2 preface: the first 24 bytes of a connection, which show whether the peer speaks HTTP/2.
//!
//! hyper waits for them without a time limit, so this module reads them under the caller's timeout.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The first bytes of every HTTP/2 client (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads the preface.
///
/// # Errors
/// When the stream ends or fails first, or has other content. A wrong byte is detected at once, not after 24 bytes.
pub(super) async fn read<IO: AsyncRead + Unpin>(io: &mut IO) -> io::Result<()> {
    let mut expected = PREFACE;
    let mut buffer = [0; PREFACE.len()];
    while !expected.is_empty() {
        let (room, _) = buffer.split_at_mut(expected.len());
        let count = io.read(room).await?;
        let (received, _) = room.split_at(count);
        if received.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        expected = expected
            .strip_prefix(received)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the peer does not speak HTTP/2"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_preface_is_read() {
        let sent = [PREFACE, b"settings"].concat();
        let mut stream = sent.as_slice();
        read(&mut stream).await.unwrap();
        assert_eq!(stream, b"settings");
    }

    #[tokio::test]
    async fn another_protocol_is_detected_before_its_24th_byte() {
        let error = read(&mut &b"GET"[..]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = read(&mut &b"PRI"[..]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
