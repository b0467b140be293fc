//! Connections: who may open one, how long it lives, and how it ends.
//!
//! Owns the accept loop and drives hyper itself, one task a connection, because tonic's server cannot do what we need: it
//! never closes a connection that sends nothing (and then waits for it at shutdown for ever), it knows no cap on connections,
//! and one open `Health.Watch` holds up its graceful shutdown without end. It must never look into a request: authority,
//! deadlines and metrics are layers of the service it is given.
//!
//! The life of a connection: counted against the cap → TLS handshake and HTTP/2 preface, both within `preface_timeout` → calls →
//! at a jittered `max_connection_age` or at shutdown a GOAWAY, after which calls in flight end and new ones go elsewhere → closed. At
//! shutdown what has not ended when the drain time is over is dropped.
//!
//! To add a limit: a field of [`Limits`], its flag in `config`, its use in `http2` or `connection`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connection;
use super::limits::{BoxError, Limits};
use super::peer::Peer;
use crate::observability::metrics::{ConnectionRejected, SharedMetrics};
use crate::transport::tls;

/// How long the accept loop rests when the process has no file descriptor or memory left. Without a rest it would spin, since
/// the waiting connection stays waiting.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How a listener ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had not ended within the drain time and were dropped, calls and all.
    pub cut: usize,
}

/// A bound socket with what it needs to serve.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<tls::Acceptor>,
    limits: Limits,
    metrics: SharedMetrics,
}

impl Listener {
    /// Binds `address`. Port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address cannot be bound; the caller names the flag.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<tls::Acceptor>,
        limits: Limits,
        metrics: SharedMetrics,
    ) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, tls, limits, metrics })
    }

    /// The address in use.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves each connection with the service that `connect` makes for it, until `stop` is cancelled, then closes the socket and drains: every connection gets a GOAWAY and up to `drain` to
    /// finish its calls. Returns when the last connection is gone, at the latest when `drain` is over.
    pub async fn serve<C, S, B>(self, connect: C, stop: CancellationToken, drain: Duration) -> Drained
    where
        C: Fn(Peer) -> S + Clone + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let address = self.address;
        let mut connections = JoinSet::new();
        let listener = self;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next() => {
                    report(ended);
                    continue;
                }
                accepted = listener.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => listener.admit(&mut connections, stream, peer, &connect, &stop),
                Err(error) if is_exhausted(&error) => {
                    tracing::warn!(%address, %error, "cannot accept connections");
                    tokio::select! { () = stop.cancelled() => {}, () = sleep(ACCEPT_REST) => {} }
                }
                // The peer gave up between its SYN and our accept.
                Err(error) => tracing::debug!(%address, %error, "a connection was lost before it was accepted"),
            }
        }
        // Closes the socket before the drain: a client that comes now is refused at once and goes to another replica.
        drop(listener);
        if !connections.is_empty() {
            tracing::info!(%address, connections = connections.len(), ?drain, "waiting for calls in flight");
        }
        let drained = drain_all(&mut connections, drain).await;
        tracing::info!(%address, cut = drained.cut, "listener closed");
        drained
    }

    fn admit<C, S, B>(
        &self,
        connections: &mut JoinSet<()>,
        stream: TcpStream,
        peer: SocketAddr,
        connect: &C,
        stop: &CancellationToken,
    ) where
        C: Fn(Peer) -> S + Clone + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if connections.len() >= self.limits.max_connections {
            self.metrics.connection_refused(ConnectionRejected::AtLimit);
            tracing::debug!(%peer, limit = self.limits.max_connections, "connection refused: at the limit");
            return;
        }
        connections.spawn(connection::run(
            connection::Setup {
                tls: self.tls.clone(),
                limits: self.limits,
                metrics: self.metrics.clone(),
                stop: stop.clone(),
            },
            stream,
            peer,
            connect.clone(),
        ));
    }
}

/// True when accepting failed for want of something the process or the system has run out of.
fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let Some(code) = error.raw_os_error() else { return false };
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&Errno::from_raw_os_error(code))
}

async fn drain_all(connections: &mut JoinSet<()>, drain: Duration) -> Drained {
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if timeout(drain, all_ended).await.is_err() {
        let cut = connections.len();
        connections.shutdown().await;
        return Drained { cut };
    }
    Drained { cut: 0 }
}

/// A connection's task returns nothing; what can be wrong with it is a panic, which is a bug of ours.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "the task of a connection panicked");
    }
}
