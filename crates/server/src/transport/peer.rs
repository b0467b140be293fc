//! The peer of a connection, as tonic's `Request::remote_addr` and `Request::peer_certs` expect it.

use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use http::{Extensions, Request};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::{Connected as _, TcpConnectInfo, TlsConnectInfo};
use tower::Service;

/// The peer of one connection.
#[derive(Debug, Clone)]
pub enum Peer {
    /// A peer over TCP.
    Plain(TcpConnectInfo),
    /// A peer over TLS.
    Tls(TlsConnectInfo<TcpConnectInfo>),
}

/// Converts an IPv4-mapped address to IPv4: a socket bound to `[::]` sees IPv4 peers as `::ffff:a.b.c.d`, but network
/// rules are written in IPv4.
fn canonical(mut info: TcpConnectInfo) -> TcpConnectInfo {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    info.remote_addr = info.remote_addr.map(plain);
    info.local_addr = info.local_addr.map(plain);
    info
}

impl Peer {
    pub(super) fn of_plain(stream: &TcpStream) -> Self {
        Self::Plain(canonical(stream.connect_info()))
    }

    pub(super) fn of_tls(stream: &TlsStream<TcpStream>) -> Self {
        let mut info = stream.connect_info();
        *info.get_mut() = canonical(info.get_ref().clone());
        Self::Tls(info)
    }

    /// Returns the peer's address, with IPv4 as IPv4.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        let info = match self {
            Self::Plain(info) => info,
            Self::Tls(info) => info.get_ref(),
        };
        info.remote_addr().map(|address| address.ip())
    }

    /// Whether the peer has a client certificate that was verified.
    #[must_use]
    pub(crate) fn is_verified(&self) -> bool {
        matches!(self, Self::Tls(info) if info.peer_certs().is_some())
    }

    fn insert_into(&self, extensions: &mut Extensions) {
        match self {
            Self::Plain(info) => {
                extensions.insert(info.clone());
            }
            Self::Tls(info) => {
                extensions.insert(info.get_ref().clone());
                extensions.insert(info.clone());
            }
        }
    }
}

/// A service that adds the peer of its connection to each request.
#[derive(Debug, Clone)]
pub struct WithPeer<S> {
    inner: S,
    peer: Peer,
}

impl<S> WithPeer<S> {
    /// Wraps `inner` for a connection with `peer`.
    pub fn new(inner: S, peer: Peer) -> Self {
        Self { inner, peer }
    }
}

impl<S, B> Service<Request<B>> for WithPeer<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        self.peer.insert_into(request.extensions_mut());
        self.inner.call(request)
    }
}
