//! The life of one connection, from its first byte to its last.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::http2;
use super::inline_executor::Calls;
use super::limits::{BoxError, Limits};
use super::peer::Peer;
use super::preface::{self, Prefaced};
use crate::entropy::jitter;
use crate::observability::error_chain::whole;
use crate::observability::metrics::{ConnectionRejected, SharedMetrics};
use crate::transport::tls;

/// The share by which connection ages are spread: connections that were opened together, after a restart of many
/// clients, do not end together.
const AGE_SPREAD: f64 = 0.1;

/// The parameters that a connection takes from its listener.
pub(super) struct Setup {
    pub(super) tls: Option<tls::Acceptor>,
    pub(super) limits: Limits,
    pub(super) metrics: SharedMetrics,
    pub(super) stop: CancellationToken,
}

/// A connection whose peer has sent the HTTP/2 preface.
enum Opened {
    Plain(Prefaced<TcpStream>),
    Tls(Box<Prefaced<TlsStream<TcpStream>>>),
}

pub(super) async fn run<C, S, B>(setup: Setup, stream: TcpStream, address: SocketAddr, connect: C)
where
    C: Fn(Peer) -> S + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let _open = setup.metrics.connection_opened();
    let opened = tokio::select! {
        biased;
        // No call has arrived on this connection, so there is nothing to drain.
        () = setup.stop.cancelled() => return,
        opened = timeout(setup.limits.preface_timeout, open(stream, setup.tls.as_ref())) => opened,
    };
    match opened {
        Ok(Ok((Opened::Plain(io), peer))) => drive(&setup, io, connect(peer), address).await,
        Ok(Ok((Opened::Tls(io), peer))) => drive(&setup, io, connect(peer), address).await,
        Ok(Err((reason, error))) => {
            setup.metrics.connection_rejected(reason);
            tracing::debug!(peer = %address, ?reason, %error, "connection closed before its first call");
        }
        Err(_elapsed) => {
            setup.metrics.connection_rejected(ConnectionRejected::TimedOut);
            tracing::debug!(peer = %address, "connection closed: no HTTP/2 preface in time");
        }
    }
}

async fn open(
    stream: TcpStream,
    tls: Option<&tls::Acceptor>,
) -> Result<(Opened, Peer), (ConnectionRejected, io::Error)> {
    let not_http2 = |error| (ConnectionRejected::NotHttp2, error);
    // Responses are small; waiting to fill a segment would only delay them.
    stream.set_nodelay(true).map_err(not_http2)?;
    match tls {
        None => {
            let peer = Peer::of_plain(&stream);
            Ok((Opened::Plain(preface::read(stream).await.map_err(not_http2)?), peer))
        }
        Some(acceptor) => {
            let stream = acceptor.accept(stream).await.map_err(|error| (ConnectionRejected::Tls, error))?;
            let peer = Peer::of_tls(&stream);
            Ok((Opened::Tls(Box::new(preface::read(stream).await.map_err(not_http2)?)), peer))
        }
    }
}

async fn drive<IO, S, B>(setup: &Setup, io: IO, service: S, address: SocketAddr)
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let calls = Calls::default();
    let served = http2::builder(&setup.limits, calls.clone()).serve_connection(TokioIo::new(io), service);
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = calls.run(served.as_mut()) => Some(ended),
        () = setup.stop.cancelled() => None,
        () = sleep(jitter(setup.limits.max_connection_age, AGE_SPREAD)) => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        // There is no second timeout: after its age, a connection may finish its calls, and during a shutdown the
        // listener drops it at the end of the drain.
        served.as_mut().graceful_shutdown();
        calls.run(served).await
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %address, error = %whole(&error), "connection failed");
    }
}
