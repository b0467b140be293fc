//! What a server says of itself at `/metrics`.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::trouble::{Attempt as _, Trouble};

/// The value of the one series that begins with `series`, if it is there.
async fn find(address: SocketAddr, series: &str) -> Result<Option<f64>, Trouble> {
    let mut socket = TcpStream::connect(address).await.attempt(address)?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.attempt("/metrics")?;
    let mut text = String::new();
    socket.read_to_string(&mut text).await.attempt("/metrics")?;
    Ok(text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()))
}

/// The value of the one series that begins with `series`.
pub(crate) async fn value(address: SocketAddr, series: &str) -> Result<f64, Trouble> {
    find(address, series).await?.ok_or_else(|| format!("/metrics has no {series}").into())
}

/// How many calls of Verify ended well, and how many tokens were valid.
pub(crate) async fn right_answers(address: SocketAddr) -> Result<[f64; 2], Trouble> {
    const OK: &str = "grpc_server_handled_total{grpc_service=\"keyauthority.v1.KeyAuthority\",grpc_method=\"Verify\",grpc_code=\"OK\"}";
    // A code that never came is no series.
    let ok = find(address, OK).await?.unwrap_or_default();
    Ok([ok, value(address, "keyauthority_verify_total{verdict=\"VALID\"}").await?])
}

/// How many statements calls have sent to the database.
pub(crate) async fn statements(address: SocketAddr) -> Result<f64, Trouble> {
    value(address, "keyauthority_storage_statements_total{pool=\"requests\"}").await
}
