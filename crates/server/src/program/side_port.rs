//! The side port: `/metrics`, `/livez`, `/readyz`, over plain HTTP/1.1.
//!
//! Its clients are the operator's machines: probes do not use TLS, and scrapers have no key. So a response must never
//! contain anything about a key, an account or a caller. The port must answer while gRPC is flooded, so it has its own
//! socket and its own places for connections. It stops last in a shutdown, so that a probe during the drain reads "not
//! ready" instead of a connection error.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::gzip;
use crate::observability::metrics::{ConnectionRejected, Format, SharedMetrics};
use crate::rpc::health::{Health, HealthState, VerifyState};
use crate::transport::connection::ConnectionLog;
use crate::transport::places::{PlaceLimits, Places};
use crate::transport::socket;

/// The places for connections. Scrapers and probes are few and send their request at once, so that the oldest
/// connection makes room for a new one: a peer that holds connections open cannot keep a probe out.
const PLACES: PlaceLimits =
    PlaceLimits { total: 256, per_address: 64, per_caller: 256, strangers: 256, strangers_per_address: 64 };
/// The time limit for a request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// The time limit for a whole connection, so that a peer that does not read its response cannot stay.
const CONNECTION_LIMIT: Duration = Duration::from_mins(1);
/// The size limit of a request's head.
const BUFFER: usize = 16 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bound side port.
#[derive(Debug)]
pub(crate) struct SidePort {
    socket: TcpListener,
    address: SocketAddr,
}

#[derive(Debug, Clone)]
struct SidePortState {
    health: Health,
    metrics: SharedMetrics,
}

impl SidePort {
    /// Binds `address`. Port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address cannot be bound; the caller names the flag.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket::listen(address)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Returns the bound address.
    #[must_use]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled; then open connections are dropped.
    pub(crate) async fn serve(self, health: Health, metrics: SharedMetrics, stop: CancellationToken) {
        let router = router(SidePortState { health, metrics: metrics.clone() });
        let (mut connections, places) = (JoinSet::new(), Places::new(PLACES));
        let log = Arc::new(ConnectionLog::new(self.address));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_ended) = connections.join_next() => {}
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        // There are strangers only, so that there is always one to make room.
                        let Some(place) = places.enter(peer.ip()) else { continue };
                        let (router, log, metrics) = (router.clone(), Arc::clone(&log), metrics.clone());
                        connections.spawn(async move {
                            let served = timeout(CONNECTION_LIMIT, serve_one(stream, router));
                            tokio::select! {
                                _ = served => {}
                                () = place.evicted() => {
                                    metrics.connections.rejected(ConnectionRejected::Evicted);
                                    log.refused(peer, ConnectionRejected::Evicted);
                                }
                            }
                        });
                    }
                    Err(error) => {
                        tracing::debug!(%error, "cannot accept a connection on the side port");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

async fn serve_one(stream: TcpStream, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        // Each connection serves one request, so that no client can keep the probes out by reusing its connection.
        .keep_alive(false)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = served.await {
        tracing::debug!(%error, "connection on the side port failed");
    }
}

fn router(state: SidePortState) -> Router {
    Router::new()
        .route("/metrics", get(metrics_text).layer(from_fn_with_state(Compression::fast(), gzip::compress)))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(state)
}

async fn metrics_text(State(state): State<SidePortState>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::negotiate(accept);
    match state.metrics.encode(format) {
        Ok(text) => {
            let content = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, header::ACCEPT.as_str())];
            (content, text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "cannot encode the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Returns 200 when Verify can answer.
///
/// The state of the database is in the body, but does not affect the status: Verify works without the database while
/// the lease lasts, and a probe that took every replica out at once would turn a database outage into an outage of
/// Verify.
async fn ready(State(state): State<SidePortState>) -> (StatusCode, String) {
    let state = state.health.state();
    let code = if state.is_verify_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, readiness(state))
}

/// A line for each component: whether it is ready, or why not.
fn readiness(state: HealthState) -> String {
    let verify = match state.verify {
        VerifyState::Ready => "ready".to_owned(),
        _ if state.is_ending => "not ready: the server is shutting down".to_owned(),
        VerifyState::Starting => "not ready: starting; there is no lease yet".to_owned(),
        VerifyState::NoAuthority => {
            "not ready: the database contains no authority; run `key-authority bootstrap`".to_owned()
        }
        VerifyState::NoLease => "not ready: the lease has expired".to_owned(),
        VerifyState::SecretVersionMissing(version) => {
            format!("not ready: the secret file lacks version {version} of the authority secret")
        }
    };
    let storage = match state {
        HealthState { is_storage_ready: true, .. } => "ready",
        HealthState { is_ending: true, .. } => "not ready: the server is shutting down",
        _ => "not ready: the database does not answer, or cannot be written",
    };
    format!("verify: {verify}\nstorage: {storage}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observability::metrics::Metrics;
    use crate::wire::methods::MethodTable;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn connections_that_send_no_request_keep_no_probe_out() {
        let side_port = SidePort::bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = side_port.address();
        let metrics = Arc::new(Metrics::new("0", &MethodTable::default(), &[]));
        let _served = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(side_port.serve(
            Health::new().0,
            metrics,
            CancellationToken::new(),
        )));
        let mut held = Vec::new();
        for _ in 0..200 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
            held.push(stream);
            assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        }
    }

    #[tokio::test]
    async fn the_side_port_serves_metrics_and_probes_until_it_is_stopped() {
        let side_port = SidePort::bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = side_port.address();
        let (health, _service) = Health::new();
        let metrics = Arc::new(Metrics::new("0", &MethodTable::default(), &[]));
        let stop = CancellationToken::new();
        let served = tokio::spawn(side_port.serve(health.clone(), metrics, stop.clone()));

        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("verify: not ready: starting;"), "{answer}");
        health.set_verify(VerifyState::SecretVersionMissing(2));
        assert!(get(address, "/readyz").await.contains("verify: not ready: the secret file lacks version 2 of"));
        health.set_verify(VerifyState::Ready);
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("storage: not ready"), "{answer}");
        health.stop_serving();
        let ending = "not ready: the server is shutting down";
        let answer = get(address, "/readyz").await;
        assert!(answer.ends_with(&format!("verify: {ending}\nstorage: {ending}\n")), "{answer}");
        let answer = get(address, "/metrics").await;
        assert!(answer.contains("text/plain; version=0.0.4") && answer.contains("keyauthority_build_info"), "{answer}");
        assert!(get(address, "/other").await.starts_with("HTTP/1.1 404"));

        let _open = TcpStream::connect(address).await.unwrap();
        stop.cancel();
        served.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
