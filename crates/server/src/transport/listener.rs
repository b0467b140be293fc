//! Listeners: they accept connections, limit them, and drain them.
//!
//! This module has the accept loop and drives hyper directly, with one task a connection, because tonic's server is not
//! sufficient. It never closes a connection that sends nothing, and then waits for it at shutdown without end; it has
//! no limit on connections; and one open `Health.Watch` blocks its graceful shutdown. This module never reads a
//! request: authorization, deadlines and metrics are layers of the service that it is given.
//!
//! The life of a connection:
//!
//! t0: it is accepted and gets a place ([`super::places`]).
//! t1: the TLS handshake and the HTTP/2 preface (or the first bytes of HTTP/1.1) complete, within `preface_timeout`.
//! t2: calls are served. What they hold is counted ([`super::budget`]).
//! t3: at a jittered `max_connection_age`, at shutdown, or to make room for another connection, it gets a GOAWAY
//!     ([`super::http2_stream`]). New calls use another connection, and its streams end in order.
//! t4: a second later, hyper shuts it down.
//! t5: the calls in flight complete, and it closes. After a grace, or at the end of the drain, it is dropped.
//!
//! To add a limit, add a field to [`Limits`], its flag to `config`, its use to `http2` or `connection`, and its row to
//! `docs/limits.md`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::budget::ProcessBudget;
use super::connection;
use super::connection::{ConnectionContext, ConnectionLog};
use super::limits::{BoxError, Limits};
use super::places::Places;
use crate::observability::metrics::{ConnectionRejected, SharedMetrics};
use crate::transport::{socket, tls};

/// The pause of the accept loop after a failure, such as a process without file descriptors or memory. Without a pause
/// it would spin, since the waiting connection stays in the queue.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The interval at which connections whose callers' keys have ended become strangers'.
const DEMOTE_INTERVAL: Duration = Duration::from_secs(5);

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
    places: Places,
    serves_http1: bool,
    hurried: CancellationToken,
    budget: ProcessBudget,
    metrics: SharedMetrics,
    log: Arc<ConnectionLog>,
}

impl Listener {
    /// Binds `address`. Port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address cannot be bound; the caller names the flag.
    pub fn bind(
        address: SocketAddr,
        tls: Option<tls::Acceptor>,
        limits: Limits,
        budget: ProcessBudget,
        metrics: SharedMetrics,
    ) -> io::Result<Self> {
        let socket = socket::listen(address)?;
        let address = socket.local_addr()?;
        let places = Places::new(limits.places);
        let log = Arc::new(ConnectionLog::new(address));
        Ok(Self {
            socket,
            address,
            tls,
            limits,
            places,
            serves_http1: false,
            hurried: CancellationToken::new(),
            budget,
            metrics,
            log,
        })
    }

    /// Also serves HTTP/1.1.
    #[must_use]
    pub fn with_http1(self) -> Self {
        Self { serves_http1: true, ..self }
    }

    /// Ends the drain early when `hurried` is cancelled.
    #[must_use]
    pub(crate) fn with_hurry(self, hurried: CancellationToken) -> Self {
        Self { hurried, ..self }
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
        C: Fn(ConnectionContext) -> S + Clone + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let address = self.address;
        let mut connections = JoinSet::new();
        let listener = self;
        let mut demote = interval(DEMOTE_INTERVAL);
        demote.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = demote.tick() => {
                    listener.places.demote_ended();
                    continue;
                }
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
        let hurried = listener.hurried.clone();
        drop(listener);
        if !connections.is_empty() {
            tracing::info!(%address, connections = connections.len(), ?drain, "waiting for calls in flight");
        }
        let drained = drain_all(&mut connections, drain, &hurried).await;
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
        C: Fn(ConnectionContext) -> S + Clone + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Some(place) = self.places.enter(peer.ip()) else {
            self.metrics.connections.rejected(ConnectionRejected::AtLimit);
            self.log.refused(peer, ConnectionRejected::AtLimit);
            return;
        };
        connections.spawn(connection::run(
            connection::Setup {
                tls: self.tls.clone(),
                limits: self.limits,
                serves_http1: self.serves_http1,
                metrics: self.metrics.clone(),
                stop: stop.clone(),
                log: Arc::clone(&self.log),
            },
            stream,
            peer,
            place,
            self.budget.clone(),
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

async fn drain_all(connections: &mut JoinSet<()>, drain: Duration, hurried: &CancellationToken) -> Drained {
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if !matches!(timeout(drain, hurried.run_until_cancelled(all_ended)).await, Ok(Some(()))) {
        let cut = connections.len();
        connections.shutdown().await;
        return Drained { cut };
    }
    Drained { cut: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_with_its_time_or_when_it_is_hurried() {
        let (hurried, unhurried) = (CancellationToken::new(), CancellationToken::new());
        hurried.cancel();
        for (token, drain) in [(hurried, Duration::MAX), (unhurried, Duration::from_secs(5))] {
            let mut connections = JoinSet::new();
            connections.spawn(std::future::pending());
            assert_eq!(drain_all(&mut connections, drain, &token).await.cut, 1);
            assert!(connections.is_empty());
        }
    }
}
