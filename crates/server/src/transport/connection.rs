//! The life of one connection, from its first byte to its last.
//!
//! HTTP/1.1 has no GOAWAY: such a connection closes after the response of the request in progress.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::budget::ConnectionBudget;
use super::http1::{self, Rewound};
use super::http2;
use super::http2_stream::{Http2Stream, StreamControl};
use super::inline_executor::Calls;
use super::limits::{BoxError, Limits};
use super::peer::Peer;
use super::places::Place;
use super::preface::{self, Protocol};
use crate::entropy::jitter;
use crate::observability::error_chain::whole;
use crate::observability::metrics::{ConnectionCut, ConnectionRejected, SharedMetrics};
use crate::transport::tls;

/// The share by which connection ages are spread: connections that were opened together, after a restart of many
/// clients, do not end together.
const AGE_SPREAD: f64 = 0.1;
/// The time between the first GOAWAY and those of hyper: by then, all calls that the peer began before it read the
/// first one have arrived.
const SETTLE: Duration = Duration::from_secs(1);
/// The time that a stranger has to end its calls after it was asked to leave; without calls, it has none. Connections
/// that leave have no place, so that their number is not limited.
const EVICTION_GRACE: Duration = Duration::from_millis(500);

/// The parameters that a connection takes from its listener.
pub(super) struct Setup {
    pub(super) tls: Option<tls::Acceptor>,
    pub(super) limits: Limits,
    pub(super) serves_http1: bool,
    pub(super) metrics: SharedMetrics,
    pub(super) stop: CancellationToken,
}

/// What the services of a connection know about it.
#[derive(Debug, Clone)]
pub struct ConnectionContext {
    /// Who is at the other end.
    pub peer: Peer,
    /// The place that the connection has.
    pub place: Arc<Place>,
    /// The bytes that the connection holds.
    pub budget: ConnectionBudget,
    /// Cancelled when the connection is to end: its streams end in order.
    pub closing: CancellationToken,
}

/// A connection whose peer has sent its first bytes.
struct Opened {
    io: Stream,
    peer: Peer,
    protocol: Protocol,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub(super) async fn run<C, S, B>(
    setup: Setup,
    stream: TcpStream,
    address: SocketAddr,
    place: Place,
    budget: ConnectionBudget,
    connect: C,
) where
    C: Fn(ConnectionContext) -> S + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let _open = setup.metrics.connections.opened();
    let opened = tokio::select! {
        biased;
        // No call has arrived on this connection, so there is nothing to drain.
        () = setup.stop.cancelled() => return,
        () = place.evicted() => return setup.metrics.connections.rejected(ConnectionRejected::Evicted),
        opened = timeout(setup.limits.preface_timeout, open(&setup, stream)) => opened,
    };
    let context = |peer| ConnectionContext { peer, place: Arc::new(place), budget, closing: CancellationToken::new() };
    match opened {
        Ok(Ok(Opened { io: Stream::Plain(io), peer, protocol })) => {
            drive(&setup, io, protocol, context(peer), connect, address).await;
        }
        Ok(Ok(Opened { io: Stream::Tls(io), peer, protocol })) => {
            drive(&setup, io, protocol, context(peer), connect, address).await;
        }
        Ok(Err((reason, error))) => {
            setup.metrics.connections.rejected(reason);
            tracing::debug!(peer = %address, ?reason, %error, "connection closed before its first call");
        }
        Err(_elapsed) => {
            setup.metrics.connections.rejected(ConnectionRejected::TimedOut);
            tracing::debug!(peer = %address, "connection closed: no first bytes in time");
        }
    }
}

async fn open(setup: &Setup, mut stream: TcpStream) -> Result<Opened, (ConnectionRejected, io::Error)> {
    let not_http = |error| (ConnectionRejected::NotHttp2, error);
    let served = |protocol| match protocol {
        Protocol::Other(_) if !setup.serves_http1 => {
            Err(not_http(io::Error::new(io::ErrorKind::InvalidData, "the peer does not speak HTTP/2")))
        }
        protocol => Ok(protocol),
    };
    // Responses are small; waiting to fill a segment would only delay them.
    stream.set_nodelay(true).map_err(not_http)?;
    match &setup.tls {
        None => {
            let peer = Peer::of_plain(&stream);
            let protocol = served(preface::read(&mut stream).await.map_err(not_http)?)?;
            Ok(Opened { io: Stream::Plain(stream), peer, protocol })
        }
        Some(acceptor) => {
            let accepted = acceptor.accept(stream, setup.serves_http1).await;
            let mut stream = accepted.map_err(|error| (ConnectionRejected::Tls, error))?;
            let peer = Peer::of_tls(&stream);
            let protocol = served(preface::read(&mut stream).await.map_err(not_http)?)?;
            Ok(Opened { io: Stream::Tls(Box::new(stream)), peer, protocol })
        }
    }
}

async fn drive<IO, C, S, B>(
    setup: &Setup,
    io: IO,
    protocol: Protocol,
    context: ConnectionContext,
    connect: C,
    address: SocketAddr,
) where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    C: Fn(ConnectionContext) -> S + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    match protocol {
        Protocol::Http2 => drive_http2(setup, io, context, connect, address).await,
        Protocol::Other(first) => drive_http1(setup, Rewound::new(io, first), context, connect, address).await,
    }
}

async fn drive_http1<IO, C, S, B>(setup: &Setup, io: IO, context: ConnectionContext, connect: C, address: SocketAddr)
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    C: Fn(ConnectionContext) -> S + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let closing = context.closing.clone();
    // No frame can flood the server: each request waits for the response to the one before it.
    let end = reason_to_end(setup.limits, setup.stop.clone(), context.clone(), std::future::pending());
    let mut served = pin!(http1::builder().serve_connection(TokioIo::new(io), connect(context)));
    let reason = tokio::select! {
        ended = served.as_mut() => return log_end(address, ended),
        reason = end => reason,
    };
    let grace = match reason {
        End::InOrder(grace) => grace,
        End::Cut(cut) => return log_cut(setup, address, cut),
    };
    served.as_mut().graceful_shutdown();
    closing.cancel();
    match timeout(grace, served).await {
        Ok(ended) => log_end(address, ended),
        // A stranger without a call in progress is closed at once.
        Err(_elapsed) if grace.is_zero() => {}
        Err(_elapsed) => log_cut(setup, address, ConnectionCut::TooOld),
    }
}

async fn drive_http2<IO, C, S, B>(setup: &Setup, io: IO, context: ConnectionContext, connect: C, address: SocketAddr)
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    C: Fn(ConnectionContext) -> S + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (control, closing) = (StreamControl::default(), context.closing.clone());
    let calls = Calls::new(control.clone());
    // The reasons to end are watched by a task of their own. The task of the connection, which each call wakes, waits
    // for one of them only.
    let end = AbortOnDropHandle::new(tokio::spawn(reason_to_end(
        setup.limits,
        setup.stop.clone(),
        context.clone(),
        control.clone().flooded(),
    )));
    let io = TokioIo::new(Http2Stream::new(io, control.clone()));
    let served = http2::builder(&setup.limits, calls.clone(), setup.serves_http1);
    let served = served.serve_connection(io, connect(context));
    let mut served = pin!(served);
    let reason = tokio::select! {
        ended = calls.run(served.as_mut()) => return log_end(address, ended),
        reason = end => reason.unwrap_or(End::Cut(ConnectionCut::NotRead)),
    };
    let grace = match reason {
        End::InOrder(grace) => grace,
        End::Cut(cut) => return log_cut(setup, address, cut),
    };
    control.send_goaway();
    // This poll sends the GOAWAY. Streams end after it, so that no client begins them again on this connection.
    if let Some(ended) = calls.run(served.as_mut()).now_or_never() {
        return log_end(address, ended);
    }
    if grace.is_zero() {
        return;
    }
    closing.cancel();
    let settled = timeout(SETTLE.min(grace), calls.run(served.as_mut())).await;
    if let Ok(ended) = settled {
        return log_end(address, ended);
    }
    served.as_mut().graceful_shutdown();
    match timeout(grace, calls.run(served)).await {
        Ok(ended) => log_end(address, ended),
        Err(_elapsed) => log_cut(setup, address, ConnectionCut::TooOld),
    }
}

fn log_cut(setup: &Setup, address: SocketAddr, cut: ConnectionCut) {
    setup.metrics.connections.cut(cut);
    tracing::info!(peer = %address, reason = cut.as_str(), "connection cut");
}

fn log_end(address: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(peer = %address, error = %whole(&error), "connection failed");
    }
}

/// Why the server ends a connection.
enum End {
    /// The peer gets a GOAWAY, and this time for the calls in flight.
    InOrder(Duration),
    /// The peer makes the server hold too much, so that there is no time.
    Cut(ConnectionCut),
}

async fn reason_to_end(
    limits: Limits,
    stop: CancellationToken,
    context: ConnectionContext,
    flooded: impl Future<Output = ()>,
) -> End {
    let ConnectionContext { place, budget, .. } = context;
    tokio::select! {
        // The listener drops the connection at the end of the drain.
        () = stop.cancelled() => End::InOrder(Duration::MAX),
        () = sleep(jitter(limits.max_connection_age, AGE_SPREAD)) => End::InOrder(limits.max_connection_age_grace),
        () = place.evicted() => End::InOrder(if place.has_calls() { EVICTION_GRACE } else { Duration::ZERO }),
        () = budget.stalled() => End::Cut(ConnectionCut::NotRead),
        () = budget.cut() => End::Cut(ConnectionCut::LargestHolder),
        () = flooded => End::Cut(ConnectionCut::Flood),
    }
}
