//! The stream of bytes of an HTTP/2 connection, between the socket or TLS and hyper.
//!
//! Three things that hyper and h2 lack happen here:
//!
//! - **The preface**, which was read under a time limit, is read again by hyper.
//! - **The first of two GOAWAY frames**: it asks the peer to begin no more calls, and lets every call that it began
//!   complete. hyper's graceful shutdown also sends two GOAWAY frames, but only a PING's round trip apart. Clients on
//!   gRPC's C core may write a new call after they have acknowledged the PING. h2 ignores the frames of such a call
//!   except for `WINDOW_UPDATE`, which it takes for a violation of the protocol: it ends the connection, and calls in
//!   flight are lost. So the connection waits between this GOAWAY and those of hyper. h2 writes whole frames and flushes
//!   after them, so a frame that is written at a flush is between two frames.
//! - **Fairness**: h2 reads as long as there are bytes, and one read can have a thousand frames. So a poll of the
//!   connection's task reads at most [`READ_MAX`] and lets other tasks run. A peer that floods the server with frames
//!   that carry no call is not read any more.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use key_authority_replica::clock::boottime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::frame_credit::{Flood, FrameCredit};
use super::preface::PREFACE;

/// GOAWAY with the highest stream ID and without an error (RFC 9113, 6.8).
const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
/// The number of bytes that one poll of the connection's task reads: about 300 calls, or a thousand small frames.
const READ_MAX: usize = 32 * 1024;

/// The state that the task of a connection shares with its stream. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct StreamControl(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    send_goaway: AtomicBool,
    /// The number of bytes that this poll of the task has read.
    read: AtomicUsize,
    flooded: CancellationToken,
}

impl StreamControl {
    /// Sends a GOAWAY frame at the next flush. After this, the connection has to be polled: that flushes its stream.
    pub(super) fn send_goaway(&self) {
        self.0.send_goaway.store(true, Ordering::Relaxed);
    }

    /// Begins a poll of the task: it may read [`READ_MAX`].
    pub(super) fn begin_poll(&self) {
        self.0.read.store(0, Ordering::Relaxed);
    }

    /// Completes when the peer has sent too many frames that carry no call.
    pub(super) async fn flooded(self) {
        self.0.flooded.cancelled().await;
    }
}

/// The stream of a connection whose preface was read.
#[derive(Debug)]
pub(super) struct Http2Stream<IO> {
    io: IO,
    control: StreamControl,
    /// The part of the preface that hyper has not read.
    unread: &'static [u8],
    /// The part of the GOAWAY frame that is not written.
    unsent: &'static [u8],
    credit: FrameCredit,
}

impl<IO> Http2Stream<IO> {
    pub(super) fn new(io: IO, control: StreamControl) -> Self {
        Self { io, control, unread: PREFACE, unsent: GOAWAY, credit: FrameCredit::new(boottime) }
    }
}

impl<IO: AsyncWrite + Unpin> Http2Stream<IO> {
    /// Writes the rest of the GOAWAY frame.
    fn poll_goaway(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
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
        if self.unsent.len() == GOAWAY.len() { Poll::Ready(Ok(())) } else { self.poll_goaway(context) }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Http2Stream<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.unread.is_empty() {
            let (now, later) = this.unread.split_at(this.unread.len().min(buffer.remaining()));
            buffer.put_slice(now);
            this.unread = later;
            return Poll::Ready(Ok(()));
        }
        let shared = &this.control.0;
        if shared.flooded.is_cancelled() {
            return Poll::Pending;
        }
        if shared.read.load(Ordering::Relaxed) >= READ_MAX {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(context, buffer))?;
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        shared.read.fetch_add(bytes.len(), Ordering::Relaxed);
        if let Err(Flood) = this.credit.read(bytes) {
            shared.flooded.cancel();
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Http2Stream<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_complete(context))?;
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.control.0.send_goaway.load(Ordering::Relaxed) {
            ready!(self.poll_goaway(context))?;
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
    use futures_util::poll;
    use std::pin::pin;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test]
    async fn the_preface_can_be_read_again() {
        let mut stream = Http2Stream::new(&b"settings"[..], StreamControl::default());
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, [PREFACE, b"settings"].concat());
    }

    #[tokio::test]
    async fn a_poll_of_the_task_reads_a_limited_number_of_bytes() {
        // One frame of an unknown type, so that it is not a flood.
        let sent = [&[0xff, 0xff, 0xff, 0xaa, 0, 0, 0, 0, 0][..], &vec![0; READ_MAX * 2]].concat();
        let control = StreamControl::default();
        let mut stream = Http2Stream::new(sent.as_slice(), control.clone());
        stream.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
        let mut buffer = [0; READ_MAX / 2];
        for is_ready in [true, true, false, false] {
            assert_eq!(poll!(pin!(stream.read(&mut buffer))).is_ready(), is_ready);
        }
        control.begin_poll();
        assert!(poll!(pin!(stream.read(&mut buffer))).is_ready());
    }

    #[tokio::test]
    async fn a_flood_is_detected_and_not_read_any_more() {
        let control = StreamControl::default();
        let flood = [0, 0, 0, 4, 0, 0, 0, 0, 0].repeat(100_000);
        let mut stream = Http2Stream::new(flood.as_slice(), control.clone());
        let mut buffer = [0; 100];
        let mut read = 0;
        while let std::task::Poll::Ready(count) = poll!(pin!(stream.read(&mut buffer))) {
            read += count.unwrap();
            control.begin_poll();
        }
        control.clone().flooded().await;
        assert!(read < flood.len());
    }

    #[tokio::test]
    async fn the_goaway_is_sent_once_at_a_flush() {
        let control = StreamControl::default();
        let (here, mut there) = duplex(100);
        let mut stream = Http2Stream::new(here, control.clone());
        stream.write_all(b"one").await.unwrap();
        stream.flush().await.unwrap();
        control.send_goaway();
        stream.write_all(b"two").await.unwrap();
        stream.flush().await.unwrap();
        stream.write_all(b"three").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut received = Vec::new();
        there.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, [b"onetwo", GOAWAY, b"three"].concat());
    }

    #[tokio::test]
    async fn nothing_comes_between_the_parts_of_the_goaway() {
        let control = StreamControl::default();
        // The frame does not fit at once.
        let (here, mut there) = duplex(10);
        let mut stream = Http2Stream::new(here, control.clone());
        control.send_goaway();
        let written = async {
            assert!(poll!(pin!(stream.flush())).is_pending());
            stream.write_all(b"data").await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let ((), read) = tokio::join!(written, there.read_to_end(&mut received));
        read.unwrap();
        assert_eq!(received, [GOAWAY, b"data"].concat());
    }
}
