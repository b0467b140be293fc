//! `key-authority healthcheck`: one GET of `/readyz`, for images without curl.
//!
//! It must stay small and independent of the server's state: it runs every few seconds beside the server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::program::config::{HealthcheckArgs, is_url, parse_duration};

/// The limit of the response, more than `/readyz` ever returns; another server's response may be longer.
const RESPONSE_LIMIT: u64 = 4 * 1024;

/// Why the server does not count as ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthcheckError {
    /// The address does not parse.
    #[error(
        "--http-listen (KEY_AUTHORITY_HTTP_LISTEN) is {0:?}: must be an IP address and a port, such as 127.0.0.1:9464"
    )]
    Address(String),
    /// The timeout does not parse.
    #[error("--timeout is {0:?}: must be a whole number and ms, s, m or h, such as 500ms or 2s")]
    Timeout(String),
    /// The response did not arrive in time.
    #[error("no response from {0} within {1:?}")]
    Silent(SocketAddr, Duration),
    /// The connection failed.
    #[error("no response from {0}")]
    Unreachable(SocketAddr, #[source] io::Error),
    /// The server is not ready, or the response was not understood.
    #[error("{0} is not ready: {1}")]
    NotReady(SocketAddr, String),
}

/// Sends one request.
///
/// # Errors
/// [`HealthcheckError`] unless the response has status 200.
pub(crate) async fn run(args: &HealthcheckArgs) -> Result<(), HealthcheckError> {
    let address: SocketAddr =
        args.http_listen.parse().map_err(|_| HealthcheckError::Address(shown(&args.http_listen)))?;
    let limit = parse_duration(&args.timeout).ok_or_else(|| HealthcheckError::Timeout(shown(&args.timeout)))?;
    let address = reachable(address);
    let response = timeout(limit, get_readyz(address))
        .await
        .map_err(|_elapsed| HealthcheckError::Silent(address, limit))?
        .map_err(|error| HealthcheckError::Unreachable(address, error))?;
    if response.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    let body = response.split_once("\r\n\r\n").map_or(response.as_str(), |(_, body)| body);
    Err(HealthcheckError::NotReady(address, body.trim().replace('\n', ", ")))
}

/// Returns a value for an error. A URL may contain a password.
fn shown(value: &str) -> String {
    if is_url(value) { "a URL".to_owned() } else { value.to_owned() }
}

/// Returns the address at which a server that listens on `address` is reachable from its own machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

async fn get_readyz(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    stream.take(RESPONSE_LIMIT).read_to_end(&mut response).await?;
    Ok(String::from_utf8_lossy(&response).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observability::metrics::Metrics;
    use crate::program::side_port::SidePort;
    use crate::rpc::health::{Health, VerifyState};
    use crate::wire::methods::MethodTable;
    use std::sync::Arc;
    use tokio_util::sync::CancellationToken;

    fn args(address: SocketAddr, timeout: &str) -> HealthcheckArgs {
        HealthcheckArgs { http_listen: address.to_string(), timeout: timeout.to_owned() }
    }

    #[tokio::test]
    async fn a_server_on_a_wildcard_address_is_checked_on_this_machine() {
        let side_port = SidePort::bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
        let args = args(side_port.address(), "10s");
        let (health, _service) = Health::new();
        let metrics = Arc::new(Metrics::new("0", &MethodTable::default(), &[]));
        tokio::spawn(side_port.serve(health.clone(), metrics, CancellationToken::new()));
        let error = run(&args).await.unwrap_err().to_string();
        assert!(error.contains("is not ready: verify: not ready: starting;"), "{error}");
        health.set_verify(VerifyState::Ready);
        run(&args).await.unwrap();
    }

    #[tokio::test]
    async fn timeouts_and_invalid_arguments_are_errors() {
        let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = silent.local_addr().unwrap();
        assert!(matches!(run(&args(address, "10ms")).await, Err(HealthcheckError::Silent(..))));
        assert!(matches!(run(&args(address, "10")).await, Err(HealthcheckError::Timeout(_))));
        drop(silent);
        assert!(matches!(run(&args(address, "10s")).await, Err(HealthcheckError::Unreachable(..))));
        let invalid = HealthcheckArgs { http_listen: "invalid".to_owned(), timeout: "1s".to_owned() };
        assert!(matches!(run(&invalid).await, Err(HealthcheckError::Address(_))));
    }
}
