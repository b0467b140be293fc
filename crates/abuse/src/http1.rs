//! One request by HTTP/1.1, on a connection of its own.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::peer::connect;

/// How long a response may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A response.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Its head and its body.
    pub(crate) text: String,
}

/// Sends a request with these header lines and this body, and reads the response.
pub(crate) async fn exchange(to: SocketAddr, from: IpAddr, head: &str, body: &str) -> Result<Reply> {
    let length = body.len();
    let request = format!("{head}\r\nhost: {to}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    let response = async {
        let mut stream = connect(to, from).await?;
        stream.write_all(request.as_bytes()).await.context("cannot send")?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.context("the connection was cut")?;
        anyhow::Ok(String::from_utf8_lossy(&response).into_owned())
    };
    let text = timeout(LIMIT, response).await.with_context(|| format!("no response within {LIMIT:?}"))??;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    ensure!(text.contains("\r\n\r\n"), "the connection was closed without a response");
    Ok(Reply { status: status.context("the response has no status")?, text })
}

/// The sum of the series of a metric, from the operations port.
pub(crate) async fn metric(to: SocketAddr, from: IpAddr, name: &str) -> Result<f64> {
    let reply = exchange(to, from, "GET /metrics HTTP/1.1", "").await?;
    let series = reply.text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    Ok(series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}
