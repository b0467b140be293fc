//! Reads the rest of a request body that a handler has not read.
//!
//! Many requests are answered from their head alone, such as one without a valid token. By HTTP/1, the client may still be
//! sending the body then. hyper closes a connection with unread bytes, so that the client would get a reset or a broken pipe
//! in place of the response, and take the denial for an outage.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::{Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The most that is read of an unread body, in bytes.
const BYTES_MAX: usize = 64 * 1024;
/// The longest time that a response waits for an unread body.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Handles a request, and reads what is left of its body before the response is sent.
pub(super) async fn drain(request: Request, next: Next) -> Response {
    // HTTP/2 resets the stream alone. A client that expects `100 Continue` sends no body before it has seen the response.
    if request.version() >= Version::HTTP_2 || request.headers().contains_key(header::EXPECT) {
        return next.run(request).await;
    }
    let (unread, mut returned) = oneshot::channel();
    let lend = |body| HttpBody::new(LentBody { body, unread: Some(unread) });
    let response = next.run(request.map(lend)).await;
    if let Ok(body) = returned.try_recv() {
        // The response is sent in any case.
        let _in_time = timeout(WAIT_MAX, discard(body)).await;
    }
    response
}

async fn discard(mut body: HttpBody) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > BYTES_MAX {
            return;
        }
    }
}

/// A body that is returned if it is dropped before its end.
struct LentBody {
    body: HttpBody,
    /// Where it is returned; `None` after its end.
    unread: Option<oneshot::Sender<HttpBody>>,
}

impl Body for LentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.unread = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LentBody {
    fn drop(&mut self) {
        if let Some(unread) = self.unread.take().filter(|_| !self.body.is_end_stream()) {
            let _ = unread.send(std::mem::take(&mut self.body));
        }
    }
}
