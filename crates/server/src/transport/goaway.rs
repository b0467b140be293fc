//! The first of two GOAWAY frames: it asks the peer to begin no more calls, and lets every call that it began complete.
//!
//! hyper's graceful shutdown also sends two GOAWAY frames, but only a PING's round trip apart. Clients on gRPC's C core
//! may write a new call after they have acknowledged the PING. h2 ignores the frames of such a call except for
//! `WINDOW_UPDATE`, which it takes for a violation of the protocol: it ends the connection, and calls in flight are
//! lost. So this module sends the first GOAWAY itself, and the connection waits before it lets hyper send the others.
//!
//! h2 writes whole frames and flushes after them. So a frame that is written at a flush is between two frames.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// GOAWAY with the highest stream ID and without an error (RFC 9113, 6.8).
const FRAME: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// The switch that sends the frame. After it is set, the connection has to be polled: that flushes its stream.
#[derive(Debug, Clone, Default)]
pub(super) struct SendGoAway(Arc<AtomicBool>);

impl SendGoAway {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A stream that sends the frame at the first flush after the switch was set.
#[derive(Debug)]
pub(super) struct WithGoAway<IO> {
    io: IO,
    switch: SendGoAway,
    /// The part of the frame that is not written yet.
    unsent: &'static [u8],
}

impl<IO> WithGoAway<IO> {
    pub(super) fn new(io: IO, switch: SendGoAway) -> Self {
        Self { io, switch, unsent: FRAME }
    }
}

impl<IO: AsyncWrite + Unpin> WithGoAway<IO> {
    /// Writes the rest of the frame.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let count = ready!(Pin::new(&mut self.io).poll_write(context, self.unsent))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent = self.unsent.get(count..).unwrap_or_default();
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the rest of a frame that was written in part: nothing may come in between.
    fn poll_complete(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent.len() == FRAME.len() { Poll::Ready(Ok(())) } else { self.poll_send(context) }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for WithGoAway<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for WithGoAway<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_complete(context))?;
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.switch.0.load(Ordering::Relaxed) {
            ready!(self.poll_send(context))?;
        }
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_complete(context))?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_complete(context))?;
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test]
    async fn the_frame_is_sent_once_at_a_flush() {
        let switch = SendGoAway::default();
        let (here, mut there) = duplex(100);
        let mut stream = WithGoAway::new(here, switch.clone());
        stream.write_all(b"one").await.unwrap();
        stream.flush().await.unwrap();
        switch.set();
        stream.write_all(b"two").await.unwrap();
        stream.flush().await.unwrap();
        stream.write_all(b"three").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut received = Vec::new();
        there.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, [b"onetwo", FRAME, b"three"].concat());
    }

    #[tokio::test]
    async fn nothing_comes_between_the_parts_of_the_frame() {
        let switch = SendGoAway::default();
        // The frame does not fit at once.
        let (here, mut there) = duplex(10);
        let mut stream = WithGoAway::new(here, switch.clone());
        switch.set();
        let written = async {
            assert!(futures_util::poll!(std::pin::pin!(stream.flush())).is_pending());
            stream.write_all(b"data").await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let ((), read) = tokio::join!(written, there.read_to_end(&mut received));
        read.unwrap();
        assert_eq!(received, [FRAME, b"data"].concat());
    }
}
