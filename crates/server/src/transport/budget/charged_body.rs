//! Response bodies whose chunks are charged to their connection.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::account::{ConnectionBudget, FREE_BYTES};
use crate::transport::places::Counted;

type Room = Pin<Box<dyn Future<Output = ()> + Send>>;

pin_project! {
    /// A response body whose chunks are charged. While the connection has no room, it makes none.
    pub struct ChargedBody<B: Body> {
        #[pin]
        inner: B,
        budget: Option<ConnectionBudget>,
        room: Option<Room>,
        // What was made, and is not handed over yet. In a box, since most bodies have one small chunk.
        made: Option<Box<Made<B::Error>>>,
        // The call is in progress until its response ends.
        _call: Option<Counted>,
    }
}

impl<B: Body<Data = Bytes>> ChargedBody<B> {
    /// Charges the response of a call to `budget`.
    pub(crate) fn new(inner: B, budget: ConnectionBudget, call: Counted) -> Self {
        Self { inner, budget: Some(budget), room: None, made: None, _call: Some(call) }
    }

    /// Charges what the body has already: a message that waits for its turn holds memory as well.
    pub(crate) fn charge_first(mut self) -> Self
    where
        B: Unpin,
    {
        let Some(budget) = &self.budget else { return self };
        let mut context = Context::from_waker(Waker::noop());
        // Polled again by the connection, which takes the place of this waker.
        match Pin::new(&mut self.inner).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) if is_charged(&frame) => {
                self.made = Some(Box::new(Made::pieces(budget.charge_response(frame.into_data().unwrap_or_default()))));
            }
            Poll::Ready(Some(frame)) => {
                self.made = Some(Box::new(Made { pieces: VecDeque::new(), after: Some(frame) }));
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
        self
    }
}

/// What a body has made, and not handed over yet.
struct Made<E> {
    /// The pieces of a charged chunk.
    pieces: VecDeque<Bytes>,
    /// A frame that is not charged.
    after: Option<Result<Frame<Bytes>, E>>,
}

impl<E> Made<E> {
    fn pieces(pieces: VecDeque<Bytes>) -> Self {
        Self { pieces, after: None }
    }

    fn next(&mut self) -> Option<Result<Frame<Bytes>, E>> {
        self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))).or_else(|| self.after.take())
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.after.is_none()
    }

    fn bytes(&self) -> u64 {
        let after = self.after.iter().flatten().filter_map(Frame::data_ref);
        self.pieces.iter().chain(after).map(|piece| piece.len() as u64).sum()
    }
}

fn is_charged(frame: &Frame<Bytes>) -> bool {
    frame.data_ref().is_some_and(|chunk| chunk.len() > FREE_BYTES)
}

impl<B: Body + Default> Default for ChargedBody<B> {
    fn default() -> Self {
        Self { inner: B::default(), budget: None, room: None, made: None, _call: None }
    }
}

impl<B: Body<Data = Bytes>> Body for ChargedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let Some(budget) = this.budget else { return this.inner.poll_frame(context) };
        if let Some(frame) = this.made.as_mut().and_then(|made| made.next()) {
            return Poll::Ready(Some(frame));
        }
        *this.made = None;
        if !budget.has_room() {
            let owned = budget.clone();
            let room = this.room.get_or_insert_with(|| Box::pin(async move { owned.room().await }));
            std::task::ready!(room.as_mut().poll(context));
        }
        *this.room = None;
        match std::task::ready!(this.inner.poll_frame(context)) {
            Some(Ok(frame)) if is_charged(&frame) => {
                let made = Box::new(Made::pieces(budget.charge_response(frame.into_data().unwrap_or_default())));
                Poll::Ready(this.made.insert(made).next())
            }
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.made.as_ref().is_none_or(|made| made.is_empty()) && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let pieces = self.made.as_ref().map_or(0, |made| made.bytes());
        let (inner, mut whole) = (self.inner.size_hint(), SizeHint::new());
        whole.set_lower(inner.lower() + pieces);
        if let Some(upper) = inner.upper() {
            whole.set_upper(upper + pieces);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::super::account::{OverBudget, ProcessBudget};
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn small_chunks_and_requests_are_not_charged() {
        let process = ProcessBudget::new(0, false);
        let connection = process.connection(None);
        let small = http_body_util::Full::new(Bytes::from_static(&[0; FREE_BYTES]));
        let _body = ChargedBody::new(small, connection.clone(), Counted::default()).charge_first();
        let mut request = connection.request();
        assert_eq!(request.set(FREE_BYTES), Ok(()));
        assert_eq!(process.held(), 0);
        assert_eq!(request.set(FREE_BYTES + 1), Err(OverBudget { bytes_max: 0 }));
        assert_eq!(process.held(), FREE_BYTES + 1);
        assert_eq!(request.set(0), Ok(()));
        assert_eq!(process.held(), 0);
    }

    #[tokio::test]
    async fn a_message_that_waits_for_room_is_charged() {
        let process = ProcessBudget::new(1 << 22, false);
        let connection = process.connection(None);
        let full = || http_body_util::Full::new(Bytes::from(vec![0; 40 * 1024]));
        let bodies: Vec<_> =
            (0..3).map(|_| ChargedBody::new(full(), connection.clone(), Counted::default()).charge_first()).collect();
        assert!(!connection.has_room());
        assert_eq!(process.held(), 3 * 40 * 1024);
        drop(bodies);
        for len in [FREE_BYTES, 40 * 1024] {
            let body = http_body_util::Full::new(Bytes::from(vec![0; len]));
            let body = ChargedBody::new(body, connection.clone(), Counted::default()).charge_first();
            assert_eq!(body.size_hint().exact(), Some(len as u64));
            assert!(!body.is_end_stream());
            let read = http_body_util::BodyExt::collect(body).now_or_never().unwrap().unwrap();
            assert_eq!(read.to_bytes().len(), len);
        }
        assert_eq!(process.held(), 0);
    }
}
