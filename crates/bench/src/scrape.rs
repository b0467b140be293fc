//! Reads a server's metrics at `/metrics`.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The value of the series that begins with `series`; None if there is no such series.
async fn find(address: SocketAddr, series: &str) -> Result<Option<f64>> {
    let mut socket = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.context("cannot read /metrics")?;
    let mut text = String::new();
    socket.read_to_string(&mut text).await.context("cannot read /metrics")?;
    Ok(text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()))
}

/// The value of the series that begins with `series`.
pub(crate) async fn value(address: SocketAddr, series: &str) -> Result<f64> {
    find(address, series).await?.with_context(|| format!("/metrics has no {series}"))
}

/// The number of Verify calls that ended with OK, and the number of VALID verdicts.
pub(crate) async fn verify_counters(address: SocketAddr) -> Result<[f64; 2]> {
    const OK: &str = "grpc_server_handled_total{grpc_service=\"keyauthority.v1.KeyAuthority\",\
                      grpc_method=\"Verify\",grpc_code=\"OK\"}";
    // A series appears with its first call.
    let ok = find(address, OK).await?.unwrap_or_default();
    Ok([ok, value(address, "keyauthority_verify_total{verdict=\"VALID\"}").await?])
}

/// The number of statements that calls have sent to the database.
pub(crate) async fn statements(address: SocketAddr) -> Result<f64> {
    value(address, "keyauthority_storage_statements_total{pool=\"requests\"}").await
}
