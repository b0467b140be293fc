//! HTTP/1.1: its limits, and the stream whose first bytes were read to detect the protocol.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The time between the end of a response and the end of the next request's head. It is longer than load balancers keep
/// an idle connection (60 s), so that they do not send a request on a connection that is being closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// The size limit of a request's head, as with HTTP/2.
const HEAD_BYTES_MAX: usize = 16 * 1024;

pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    builder
}

/// A stream with bytes that are read again before the rest.
#[derive(Debug)]
pub(super) struct Rewound<IO> {
    io: IO,
    first: Vec<u8>,
    /// How many of the first bytes were read again.
    read: usize,
}

impl<IO> Rewound<IO> {
    pub(super) fn new(io: IO, first: Vec<u8>) -> Self {
        Self { io, first, read: 0 }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Rewound<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match this.first.get(this.read..) {
            Some(rest) if !rest.is_empty() => {
                let (now, _) = rest.split_at(rest.len().min(buffer.remaining()));
                buffer.put_slice(now);
                this.read += now.len();
                Poll::Ready(Ok(()))
            }
            _ => Pin::new(&mut this.io).poll_read(context, buffer),
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Rewound<IO> {
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
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn the_first_bytes_are_read_again() {
        let io = tokio::io::join(&b"T / HTTP/1.1"[..], tokio::io::sink());
        let mut stream = Rewound::new(io, b"GE".to_vec());
        let mut first = [0; 1];
        stream.read_exact(&mut first).await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!((&first, rest.as_str()), (b"G", "ET / HTTP/1.1"));
    }
}
