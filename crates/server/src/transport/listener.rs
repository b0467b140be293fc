//! Listeners: they accept connections, limit them, and drain them.
//!
//! This module has the accept loop and drives hyper directly, with one task a connection, because tonic's server is not
//! sufficient. It never closes a connection that sends nothing, and then waits for it at shutdown without end; it has
//! no limit on connections; and one open `Health.Watch` blocks its graceful shutdown. This module never reads a
//! request: authorization, deadlines and metrics are layers of the service that it is given.
//!
//! The life of a connection:
//!
//! t0: it is accepted and counted against the limit.
//! t1: the TLS handshake and the HTTP/2 preface complete, both within `preface_timeout`.
//! t2: calls are served.
//! t3: at a jittered `max_connection_age`, or at shutdown, it gets a GOAWAY. New calls use another connection.
//! t4: the calls in flight complete, and the connection closes. At shutdown it is dropped at the end of the drain.
//!
//! To add a limit, add a field to [`Limits`], its flag to `config`, and its use to `http2` or `connection`.

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

/// The pause of the accept loop when the process has no file descriptor or memory left. Without a pause it would spin,
/// since the waiting connection stays in the queue.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The result of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// The number of connections that did not end within the drain time, and were dropped with their calls.
    pub cut: usize,
}

/// A bound socket with the parameters of its connections.
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

    /// Returns the bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves each connection with the service that `connect` makes for it, until `stop` is cancelled.
    ///
    /// Then it closes the socket and drains: every connection gets a GOAWAY and up to `drain` to finish its calls. It
    /// returns when the last connection has ended, at the latest after `drain`.
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
                    tokio::select! { () = stop.cancelled() => {}, () = sleep(ACCEPT_PAUSE) => {} }
                }
                // The peer closed the connection before it was accepted.
                Err(error) => tracing::debug!(%address, %error, "connection closed before it was accepted"),
            }
        }
        // The socket closes before the drain: a client that connects now is rejected at once and uses another replica.
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
            let limit = self.limits.max_connections;
            tracing::debug!(%peer, limit, "connection rejected: --max-connections reached");
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

/// Whether accepting failed because the process or the system has exhausted a resource.
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

/// Logs the panic of a connection's task, which is a defect.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "connection task panicked");
    }
}
