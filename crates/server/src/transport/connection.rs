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
use key_authority_replica::clock::boottime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::budget::{ConnectionBudget, ProcessBudget};
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
use crate::observability::line_limit::LineLimit;
use crate::observability::metrics::{ConnectionCut, ConnectionRejected, SharedMetrics};
use crate::transport::tls;

/// The share by which connection ages are spread: connections that were opened together, after a restart of many
/// clients, do not end together.
const AGE_SPREAD: f64 = 0.1;
/// The time between the first GOAWAY and those of hyper: by then, all calls that the peer began before it read the
/// first one have arrived.
const SETTLE: Duration = Duration::from_secs(1);
/// The time that a stranger has to end its calls after it was asked to leave. Connections that leave have no place, so
/// that their number is not limited: one without calls has no time, nor has one that makes the server hold bytes.
const EVICTION_GRACE: Duration = Duration::from_millis(500);

/// The parameters that a connection takes from its listener.
pub(super) struct Setup {
    pub(super) tls: Option<tls::Acceptor>,
    pub(super) limits: Limits,
    pub(super) serves_http1: bool,
    pub(super) metrics: SharedMetrics,
    pub(super) stop: CancellationToken,
    pub(super) log: Arc<ConnectionLog>,
}

/// Logs the connections of one listener that were cut or refused, with a limit on the lines.
#[derive(Debug)]
pub(crate) struct ConnectionLog {
    listener: SocketAddr,
    cut: LineLimit,
    refused: LineLimit,
}

/// The maximum number of log lines about cut connections in a second.
const CUT_LINES: u32 = 10;
/// The maximum number of log lines about refused connections in a second: enough to see who floods a listener.
const REFUSED_LINES: u32 = 1;

impl ConnectionLog {
    pub(crate) fn new(listener: SocketAddr) -> Self {
        Self { listener, cut: LineLimit::new(CUT_LINES), refused: LineLimit::new(REFUSED_LINES) }
    }

    /// Logs a connection that found no place, lost its place, or sent nothing.
    pub(crate) fn refused(&self, address: SocketAddr, reason: ConnectionRejected) {
        let Some(left_out) = self.refused.admit(boottime()) else { return };
        let left_out = (left_out > 0).then_some(left_out);
        let (listener, reason) = (self.listener, reason.as_str());
        tracing::info!(left_out, %listener, peer = %address, reason, "connection refused");
    }
}

impl Setup {
    fn refuse(&self, address: SocketAddr, reason: ConnectionRejected) {
        self.metrics.connections.rejected(reason);
        self.log.refused(address, reason);
    }
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
    process: ProcessBudget,
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
        () = place.evicted() => return setup.refuse(address, ConnectionRejected::Evicted),
        opened = timeout(setup.limits.preface_timeout, open(&setup, stream)) => opened,
    };
    let context = |peer| {
        let place = Arc::new(place);
        let budget = process.connection(Some(Arc::clone(&place)));
        ConnectionContext { peer, place, budget, closing: CancellationToken::new() }
    };
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
            setup.refuse(address, ConnectionRejected::TimedOut);
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
    let (budget, no_flood) = (context.budget.clone(), std::future::pending);
    let mut served = pin!(http1::builder().serve_connection(TokioIo::new(io), connect(context.clone())));
    let end = reason_to_end(setup.limits, setup.stop.clone(), context, no_flood());
    let leave = tokio::select! {
        ended = served.as_mut() => return log_end(address, ended),
        end = end => match end {
            End::Leave(leave) => leave,
            End::Cut(reason) => return log_cut(setup, address, reason),
        },
    };
    leave.note(setup, address);
    served.as_mut().graceful_shutdown();
    closing.cancel();
    tokio::select! {
        ended = served => log_end(address, ended),
        // What may cut a connection may also cut one that is leaving.
        reason = reason_to_cut(budget, no_flood()) => log_cut(setup, address, reason),
        () = sleep(leave.grace()) => leave.log_late(setup, address),
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
    let (calls, budget) = (Calls::new(control.clone()), context.budget.clone());
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
    let leave = tokio::select! {
        ended = calls.run(served.as_mut()) => return log_end(address, ended),
        end = end => match end {
            Ok(End::Leave(leave)) => leave,
            Ok(End::Cut(reason)) => return log_cut(setup, address, reason),
            Err(_panicked) => return,
        },
    };
    leave.note(setup, address);
    control.send_goaway();
    // This poll sends the GOAWAY. Streams end after it, so that no client begins them again on this connection.
    if let Some(ended) = calls.run(served.as_mut()).now_or_never() {
        return log_end(address, ended);
    }
    if leave.grace().is_zero() {
        return;
    }
    closing.cancel();
    // What may cut a connection may also cut one that is leaving.
    let cut = AbortOnDropHandle::new(tokio::spawn(reason_to_cut(budget, control.flooded())));
    let left = async {
        if let Ok(ended) = timeout(SETTLE.min(leave.grace() / 2), calls.run(served.as_mut())).await {
            return ended;
        }
        served.as_mut().graceful_shutdown();
        calls.run(served).await
    };
    tokio::select! {
        ended = left => log_end(address, ended),
        reason = cut => log_cut(setup, address, reason.unwrap_or(ConnectionCut::NotRead)),
        () = sleep(leave.grace()) => leave.log_late(setup, address),
    }
}

fn log_cut(setup: &Setup, address: SocketAddr, cut: ConnectionCut) {
    setup.metrics.connections.cut(cut);
    let Some(left_out) = setup.log.cut.admit(boottime()) else { return };
    let left_out = (left_out > 0).then_some(left_out);
    tracing::info!(left_out, peer = %address, reason = cut.as_str(), "connection cut");
}

fn log_end(address: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(peer = %address, error = %whole(&error), "connection failed");
    }
}

/// Why the server ends a connection.
enum End {
    /// The peer gets a GOAWAY, and some time for the calls in flight.
    Leave(Leave),
    /// There is no time: the peer makes the server hold too much, or floods it.
    Cut(ConnectionCut),
}

/// Why a peer is asked to leave.
#[derive(Debug, Clone, Copy)]
enum Leave {
    /// The server stops. The listener drops the connection at the end of the drain.
    Stop,
    /// The connection has its age. The calls in flight have this time.
    Age(Duration),
    /// The connection makes room for another one. It may have calls that are small.
    Evicted { has_calls: bool },
}

impl Leave {
    /// Returns the time for the calls in flight.
    const fn grace(self) -> Duration {
        match self {
            Self::Stop => Duration::MAX,
            Self::Age(grace) => grace,
            Self::Evicted { has_calls: true } => EVICTION_GRACE,
            // A stranger without a call in progress is closed at once.
            Self::Evicted { has_calls: false } => Duration::ZERO,
        }
    }

    /// Counts and logs a connection that had to make room.
    fn note(self, setup: &Setup, address: SocketAddr) {
        if let Self::Evicted { .. } = self {
            setup.refuse(address, ConnectionRejected::Evicted);
        }
    }

    /// Logs and counts a connection whose calls did not complete in time.
    fn log_late(self, setup: &Setup, address: SocketAddr) {
        match self {
            Self::Stop | Self::Age(_) => log_cut(setup, address, ConnectionCut::TooOld),
            Self::Evicted { .. } => tracing::debug!(peer = %address, "evicted connection closed with its calls"),
        }
    }
}

async fn reason_to_end(
    limits: Limits,
    stop: CancellationToken,
    context: ConnectionContext,
    flooded: impl Future<Output = ()>,
) -> End {
    let ConnectionContext { place, budget, .. } = context;
    tokio::select! {
        () = stop.cancelled() => End::Leave(Leave::Stop),
        () = sleep(jitter(limits.max_connection_age, AGE_SPREAD)) => {
            End::Leave(Leave::Age(limits.max_connection_age_grace))
        }
        () = place.evicted() => {
            End::Leave(Leave::Evicted { has_calls: place.has_stranger_calls() && budget.holds_nothing() })
        }
        reason = reason_to_cut(budget.clone(), flooded) => End::Cut(reason),
    }
}

async fn reason_to_cut(budget: ConnectionBudget, flooded: impl Future<Output = ()>) -> ConnectionCut {
    tokio::select! {
        () = budget.stalled() => ConnectionCut::NotRead,
        () = budget.cut() => ConnectionCut::LargestHolder,
        () = flooded => ConnectionCut::Flood,
    }
}
