//! `key-authority healthcheck`: one GET of `/readyz`, for images that have no curl.
//!
//! It must stay small and depend on nothing of the server's state: it runs every few seconds beside it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::program::config::{HealthcheckArgs, parse_duration};

/// More than the answer ever is; another server's may be longer.
const ANSWER_LIMIT: u64 = 4 * 1024;

/// Why the server does not count as ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthcheckError {
    /// The address is none.
    #[error(
        "--http-listen (KEY_AUTHORITY_HTTP_LISTEN) is {0:?}: must be an IP address and a port, such as 127.0.0.1:9464"
    )]
    Address(String),
    /// The time is none.
    #[error("--timeout is {0:?}: must be a whole number and ms, s, m or h, such as 500ms or 2s")]
    Timeout(String),
    /// Nobody answered in time.
    #[error("no answer from {0} within {1:?}")]
    Silent(SocketAddr, Duration),
    /// The connection failed.
    #[error("no answer from {0}")]
    Unreachable(SocketAddr, #[source] io::Error),
    /// The server said that it is not ready, or something that we do not understand.
    #[error("{0} says: {1}")]
    NotReady(SocketAddr, String),
}

/// Asks once.
///
/// # Errors
/// [`HealthcheckError`] unless the server said 200.
pub(crate) async fn run(args: &HealthcheckArgs) -> Result<(), HealthcheckError> {
    let address: SocketAddr =
        args.http_listen.parse().map_err(|_| HealthcheckError::Address(args.http_listen.clone()))?;
    let limit = parse_duration(&args.timeout).ok_or_else(|| HealthcheckError::Timeout(args.timeout.clone()))?;
    let address = reachable(address);
    let answer = timeout(limit, ask(address))
        .await
        .map_err(|_elapsed| HealthcheckError::Silent(address, limit))?
        .map_err(|error| HealthcheckError::Unreachable(address, error))?;
    if answer.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    let said = answer.split_once("\r\n\r\n").map_or(answer.as_str(), |(_, body)| body);
    Err(HealthcheckError::NotReady(address, said.trim().replace('\n', ", ")))
}

/// The address at which a server that listens on `address` is reached from its own machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

async fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LIMIT).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observability::metrics::Metrics;
    use crate::observability::side_port::SidePort;
    use crate::rpc::health::Health;
    use crate::wire::methods::MethodTable;
    use std::sync::Arc;
    use tokio_util::sync::CancellationToken;

    fn args(address: SocketAddr, timeout: &str) -> HealthcheckArgs {
        HealthcheckArgs { http_listen: address.to_string(), timeout: timeout.to_owned() }
    }

    #[tokio::test]
    async fn a_server_on_every_address_is_asked_on_this_machine() {
        let side_port = SidePort::bind((Ipv4Addr::UNSPECIFIED, 0).into()).await.unwrap();
        let args = args(side_port.address(), "10s");
        let (health, _service) = Health::new();
        let metrics = Arc::new(Metrics::new("0", &MethodTable::default(), &[]));
        tokio::spawn(side_port.serve(health.clone(), metrics, CancellationToken::new()));
        let error = run(&args).await.unwrap_err().to_string();
        assert!(error.ends_with("says: verify: not ready, storage: not ready"), "{error}");
        health.set_verify(true);
        run(&args).await.unwrap();
    }

    #[tokio::test]
    async fn silence_and_nonsense_are_errors() {
        let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = silent.local_addr().unwrap();
        assert!(matches!(run(&args(address, "10ms")).await, Err(HealthcheckError::Silent(..))));
        assert!(matches!(run(&args(address, "10")).await, Err(HealthcheckError::Timeout(_))));
        drop(silent);
        assert!(matches!(run(&args(address, "10s")).await, Err(HealthcheckError::Unreachable(..))));
        let nowhere = HealthcheckArgs { http_listen: "here".to_owned(), timeout: "1s".to_owned() };
        assert!(matches!(run(&nowhere).await, Err(HealthcheckError::Address(_))));
    }
}
