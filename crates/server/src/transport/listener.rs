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
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connection;
use super::limits::{BoxError, Limits};
use super::peer::Peer;
use crate::observability::metrics::{ConnectionRejected, SharedMetrics};
use crate::transport::tls;

/// The pause of the accept loop after a failure, such as a process without file descriptors or memory. Without a pause
/// it would spin, since the waiting connection stays in the queue.
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
                Some(_ended) = connections.join_next() => continue,
                accepted = listener.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => listener.accept(&mut connections, stream, peer, &connect, &stop),
                Err(error) if is_of_connection(&error) => {
                    tracing::debug!(%address, %error, "connection closed before it was accepted");
                }
                Err(error) => {
                    tracing::warn!(%address, %error, "cannot accept connections");
                    tokio::select! { () = stop.cancelled() => {}, () = sleep(ACCEPT_PAUSE) => {} }
                }
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

    fn accept<C, S, B>(
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
            self.metrics.connection_rejected(ConnectionRejected::AtLimit);
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

/// Whether accepting failed because of the one connection, which its peer closed or its network lost (accept(2)).
fn is_of_connection(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let Some(code) = error.raw_os_error() else { return false };
    let of_connection = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NONET,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
    ];
    of_connection.contains(&Errno::from_raw_os_error(code))
}

async fn drain_all(connections: &mut JoinSet<()>, drain: Duration) -> Drained {
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(drain, all_ended).await.is_err() {
        let cut = connections.len();
        connections.shutdown().await;
        return Drained { cut };
    }
    Drained { cut: 0 }
}
