//! The first 24 bytes: whether a peer speaks HTTP/2 at all.
//!
//! hyper waits for them without end, so they are read here, under the caller's time-out, and handed on to hyper with the stream.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// What every HTTP/2 client sends first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose peer has sent the preface; reading it gives the preface again.
#[derive(Debug)]
pub(super) struct Prefaced<IO> {
    unread: &'static [u8],
    io: IO,
}

/// Reads the preface.
///
/// # Errors
/// When the stream ends or fails first, or says something else. A wrong byte is seen at once, not when 24 have come.
pub(super) async fn read<IO: AsyncRead + Unpin>(mut io: IO) -> io::Result<Prefaced<IO>> {
    let mut expected = PREFACE;
    let mut buffer = [0; PREFACE.len()];
    while !expected.is_empty() {
        let (room, _) = buffer.split_at_mut(expected.len());
        let count = io.read(room).await?;
        let (said, _) = room.split_at(count);
        if said.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        expected = expected
            .strip_prefix(said)
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
    async fn the_preface_is_read_again_by_whoever_comes_next() {
        let mut said = PREFACE.to_vec();
        said.extend_from_slice(b"settings");
        let mut prefaced = read(said.as_slice()).await.unwrap();
        let mut heard = Vec::new();
        prefaced.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, said);
    }

    #[tokio::test]
    async fn another_protocol_is_seen_before_its_24th_byte() {
        let error = read(&b"GET"[..]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = read(&b"PRI"[..]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
