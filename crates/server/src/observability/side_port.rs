//! The side port: `/metrics`, `/livez`, `/readyz`, over plain HTTP/1.1.
//!
//! It is for machines of the operator: probes speak no TLS, and scrapers have no key. So it must never tell anything about a key,
//! an account or a caller, and it must stay answerable when gRPC is flooded: its own socket, its own few connections.
//! It goes on until the very end of the exit, so that a probe during the drain hears "not ready" and not silence.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::observability::metrics::{self, SharedMetrics};
use crate::rpc::health::Health;

/// Scrapers and probes are few.
const CONNECTIONS: usize = 64;
/// Time for a request's head, also for the next one on a connection that stays open.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// The whole life of a connection, so that a peer that does not read its answer cannot stay.
const CONNECTION_LIMIT: Duration = Duration::from_mins(1);
/// What a request's head may take.
const BUFFER: usize = 16 * 1024;
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// The bound side port.
#[derive(Debug)]
pub(crate) struct SidePort {
    socket: TcpListener,
    address: SocketAddr,
}

#[derive(Debug, Clone)]
struct Told {
    health: Health,
    metrics: SharedMetrics,
}

impl SidePort {
    /// Binds `address`. Port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address cannot be bound; the caller names the flag.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// The address in use.
    #[must_use]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled; what is open then is dropped.
    pub(crate) async fn serve(self, health: Health, metrics: SharedMetrics, stop: CancellationToken) {
        let router = router(Told { health, metrics });
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_ended) = connections.join_next() => {}
                accepted = self.socket.accept(), if connections.len() < CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(timeout(CONNECTION_LIMIT, serve_one(stream, router.clone())));
                    }
                    Err(error) => {
                        tracing::debug!(%error, "the side port cannot accept");
                        sleep(ACCEPT_REST).await;
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
        // A place is given back after each answer, so that nobody keeps the probes out by coming again.
        .keep_alive(false)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection of the side port failed");
    }
}

fn router(told: Told) -> Router {
    Router::new()
        .route("/metrics", get(metrics_text))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(told)
}

async fn metrics_text(State(told): State<Told>) -> Response {
    match told.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// 200 when Verify can answer. The database is told, but does not count: Verify goes on without it while the lease lasts, and
/// a probe that took every replica out at once would make an outage of it.
async fn ready(State(told): State<Told>) -> (StatusCode, String) {
    let state = told.health.state();
    let code = if state.verify { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = |is_ready| if is_ready { "ready" } else { "not ready" };
    let mut body = format!("verify: {}\nstorage: {}\n", word(state.verify), word(state.storage));
    if state.ending {
        body.push_str("ending\n");
    }
    (code, body)
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
    async fn the_side_port_tells_metrics_life_and_readiness_until_it_is_stopped() {
        let side_port = SidePort::bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let address = side_port.address();
        let (health, _service) = Health::new();
        let metrics = Arc::new(Metrics::new("0", &MethodTable::default(), &[]));
        let stop = CancellationToken::new();
        let served = tokio::spawn(side_port.serve(health.clone(), metrics, stop.clone()));

        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("verify: not ready"), "{answer}");
        health.set_verify(true);
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("storage: not ready"), "{answer}");
        health.stop_serving();
        assert!(get(address, "/readyz").await.ends_with("ending\n"));
        let answer = get(address, "/metrics").await;
        assert!(answer.contains("application/openmetrics-text") && answer.ends_with("# EOF\n"), "{answer}");
        assert!(get(address, "/other").await.starts_with("HTTP/1.1 404"));

        let _open = TcpStream::connect(address).await.unwrap();
        stop.cancel();
        served.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
