//! What a server says of itself at `/metrics`.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::trouble::{Attempt as _, Trouble};

/// The value of the one series that begins with `series`.
pub(crate) async fn value(address: SocketAddr, series: &str) -> Result<f64, Trouble> {
    let mut socket = TcpStream::connect(address).await.attempt(address)?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.attempt("/metrics")?;
    let mut text = String::new();
    socket.read_to_string(&mut text).await.attempt("/metrics")?;
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
    value.ok_or_else(|| format!("/metrics has no {series}").into())
}

/// How many statements calls have sent to the database.
pub(crate) async fn statements(address: SocketAddr) -> Result<f64, Trouble> {
    value(address, "keyauthority_storage_statements_total{pool=\"requests\"}").await
}
