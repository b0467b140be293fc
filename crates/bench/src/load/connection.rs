//! An HTTP/2 connection, and gRPC calls on it.

use anyhow::{Context as _, Result, anyhow};
use bytes::{Bytes, BytesMut};
use futures_util::future::poll_fn;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, TE};
use http::{HeaderMap, Method, Request, Uri};
use tokio::net::TcpStream;

use super::{Target, frame};

/// Large enough that the server never waits for a window update.
const WINDOW: u32 = 1 << 24;

/// A connection. Clones share it.
#[derive(Clone)]
pub(super) struct Connection {
    send: SendRequest<Bytes>,
    authority: String,
    headers: HeaderMap,
}

/// The URI of a method.
#[derive(Clone)]
pub(super) struct Path(Uri);

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Self> {
        let socket = TcpStream::connect(target.address)
            .await
            .with_context(|| format!("cannot connect to {}", target.address))?;
        socket.set_nodelay(true).context("cannot set TCP_NODELAY")?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (send, connection) = builder.handshake::<_, Bytes>(socket).await.context("HTTP/2 handshake failed")?;
        // Every open call gets the error of the connection.
        tokio::task::spawn_local(async { connection.await.ok() });
        let bearer = HeaderValue::try_from(format!("Bearer {}", target.token)).context("invalid token")?;
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/grpc")),
            (TE, HeaderValue::from_static("trailers")),
            (AUTHORIZATION, bearer),
        ];
        Ok(Self { send, authority: target.address.to_string(), headers: headers.into_iter().collect() })
    }

    pub(super) fn path(&self, method: &str) -> Result<Path> {
        let uri = format!("http://{}/keyauthority.v1.KeyAuthority/{method}", self.authority);
        uri.parse().map(Path).context("invalid URI")
    }

    /// Opens a call: the stream for the request, and the future response.
    pub(super) async fn call(&mut self, path: &Path) -> Result<(SendStream<Bytes>, ResponseFuture)> {
        poll_fn(|context| self.send.poll_ready(context)).await.context("the connection failed")?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        path.0.clone_into(request.uri_mut());
        self.headers.clone_into(request.headers_mut());
        let (answer, sender) = self.send.send_request(request, false).context("cannot open a call")?;
        Ok((sender, answer))
    }

    /// Makes a unary call, and returns the response message if the status is OK.
    pub(super) async fn unary(&mut self, path: &Path, request: Bytes) -> Result<Bytes> {
        let (mut sender, answer) = self.call(path).await?;
        sender.send_data(request, true).context("cannot send a request")?;
        let (head, mut body) = answer.await.context("cannot read a response")?.into_parts();
        let mut whole = Bytes::new();
        while let Some(chunk) = next(&mut body).await? {
            whole = concat(&whole, chunk);
        }
        let trailers = body.trailers().await.context("cannot read the trailers")?;
        check(trailers.as_ref().unwrap_or(&head.headers))?;
        let message = frame::take(&mut whole)?.context("a response without a message")?;
        if whole.is_empty() { Ok(message) } else { Err(anyhow!("trailing data in a response")) }
    }
}

/// The next bytes of a response; None at its end.
pub(super) async fn next(body: &mut RecvStream) -> Result<Option<Bytes>> {
    let Some(chunk) = body.data().await else { return Ok(None) };
    let chunk = chunk.context("cannot read a response")?;
    body.flow_control().release_capacity(chunk.len()).context("flow control failed")?;
    Ok(Some(chunk))
}

/// Fails if the status is not OK.
pub(super) fn check(trailers: &HeaderMap) -> Result<()> {
    match trailers.get("grpc-status").map(HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        _ => Err(anyhow!("a call failed: {trailers:?}")),
    }
}

/// The unparsed rest of one read, followed by the next chunk.
pub(super) fn concat(left: &Bytes, chunk: Bytes) -> Bytes {
    if left.is_empty() {
        return chunk;
    }
    let mut both = BytesMut::with_capacity(left.len() + chunk.len());
    both.extend_from_slice(left);
    both.extend_from_slice(&chunk);
    both.freeze()
}
