//! The HTTP/2 preface: the first 24 bytes of a connection, which show whether the peer speaks HTTP/2.
//!
//! hyper waits for them without a time limit, so this module reads them under the caller's timeout, and hands them to
//! hyper together with the stream.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// The first bytes of every HTTP/2 client (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose peer has sent the preface. Reading it returns the preface again.
#[derive(Debug)]
pub(super) struct Prefaced<IO> {
    unread: &'static [u8],
    io: IO,
}

/// Reads the preface.
///
/// # Errors
/// When the stream ends or fails first, or has other content. A wrong byte is detected at once, not after 24 bytes.
pub(super) async fn read<IO: AsyncRead + Unpin>(mut io: IO) -> io::Result<Prefaced<IO>> {
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
    Ok(Prefaced { unread: PREFACE, io })
}

impl<IO: AsyncRead + Unpin> AsyncRead for Prefaced<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.io).poll_read(context, buffer);
        }
        let (now, later) = self.unread.split_at(self.unread.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.unread = later;
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Prefaced<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_preface_can_be_read_again() {
        let mut sent = PREFACE.to_vec();
        sent.extend_from_slice(b"settings");
        let mut prefaced = read(sent.as_slice()).await.unwrap();
        let mut received = Vec::new();
        prefaced.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn another_protocol_is_detected_before_its_24th_byte() {
        let error = read(&b"GET"[..]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = read(&b"PRI"[..]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
