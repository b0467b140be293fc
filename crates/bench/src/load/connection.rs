//! An HTTP/2 connection, and gRPC calls on it.

use bytes::{Bytes, BytesMut};
use futures_util::future::poll_fn;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, TE};
use http::{HeaderMap, Method, Request, Uri};
use tokio::net::TcpStream;

use super::{Target, frame};
use crate::trouble::{Attempt as _, Trouble};

/// So much that the server never waits for us to say that it may send.
const WINDOW: u32 = 1 << 24;

/// A connection. Clones share it.
#[derive(Clone)]
pub(super) struct Connection {
    send: SendRequest<Bytes>,
    authority: String,
    headers: HeaderMap,
}

/// Where a method is asked for.
#[derive(Clone)]
pub(super) struct Path(Uri);

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Self, Trouble> {
        let socket = TcpStream::connect(target.address).await.attempt(target.address)?;
        socket.set_nodelay(true).attempt("TCP_NODELAY")?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (send, connection) = builder.handshake::<_, Bytes>(socket).await.attempt("HTTP/2")?;
        // How it ends, each call that is open on it is told.
        tokio::task::spawn_local(async { connection.await.ok() });
        let bearer = HeaderValue::try_from(format!("Bearer {}", target.token)).attempt("the token")?;
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/grpc")),
            (TE, HeaderValue::from_static("trailers")),
            (AUTHORIZATION, bearer),
        ];
        Ok(Self { send, authority: target.address.to_string(), headers: headers.into_iter().collect() })
    }

    pub(super) fn path(&self, method: &str) -> Result<Path, Trouble> {
        let uri = format!("http://{}/keyauthority.v1.KeyAuthority/{method}", self.authority);
        uri.parse().map(Path).attempt("a URI")
    }

    /// Opens a call: what is sent, and what will come.
    pub(super) async fn call(&mut self, path: &Path) -> Result<(SendStream<Bytes>, ResponseFuture), Trouble> {
        poll_fn(|context| self.send.poll_ready(context)).await.attempt("the connection")?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        path.0.clone_into(request.uri_mut());
        self.headers.clone_into(request.headers_mut());
        let (answer, question) = self.send.send_request(request, false).attempt("a call")?;
        Ok((question, answer))
    }

    /// Asks one message and gives back the one that is answered, if its status is OK.
    pub(super) async fn unary(&mut self, path: &Path, question: Bytes) -> Result<Bytes, Trouble> {
        let (mut sender, answer) = self.call(path).await?;
        sender.send_data(question, true).attempt("a question")?;
        let (head, mut body) = answer.await.attempt("an answer")?.into_parts();
        let mut whole = Bytes::new();
        while let Some(chunk) = next(&mut body).await? {
            whole = joined(&whole, chunk);
        }
        let trailers = body.trailers().await.attempt("the trailers")?;
        check(trailers.as_ref().unwrap_or(&head.headers))?;
        let message = frame::take(&mut whole)?.ok_or("an answer without a message")?;
        if whole.is_empty() { Ok(message) } else { Err("more than one message in an answer".into()) }
    }
}

/// The next bytes of an answer; None at its end.
pub(super) async fn next(body: &mut RecvStream) -> Result<Option<Bytes>, Trouble> {
    let Some(chunk) = body.data().await else { return Ok(None) };
    let chunk = chunk.attempt("an answer")?;
    body.flow_control().release_capacity(chunk.len()).attempt("flow control")?;
    Ok(Some(chunk))
}

/// Whether the call succeeded.
pub(super) fn check(trailers: &HeaderMap) -> Result<(), Trouble> {
    match trailers.get("grpc-status").map(HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        _ => Err(format!("a call failed: {trailers:?}").into()),
    }
}

/// What is left of one read with what the next brought.
pub(super) fn joined(left: &Bytes, chunk: Bytes) -> Bytes {
    if left.is_empty() {
        return chunk;
    }
    let mut both = BytesMut::with_capacity(left.len() + chunk.len());
    both.extend_from_slice(left);
    both.extend_from_slice(&chunk);
    both.freeze()
}
