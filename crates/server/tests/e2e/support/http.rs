//! HTTP: one GET of the side port, the figures of `/metrics`, and requests to the HTTP door.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::in_time;

/// The status code and the body of `GET path`.
pub(crate) async fn get(address: &str, path: &str) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = in_time(path, exchange).await.unwrap_or_else(|error| panic!("GET http://{address}{path}: {error}"));
    let answer = String::from_utf8(answer).expect("the answer is UTF-8");
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").expect("the answer has a head");
    (code.expect("the answer has a status code"), body.to_owned())
}

/// The value of a series, such as `grpc_server_started_total{grpc_method="Verify"}`: of the first line of that name that
/// has all the labels.
pub(crate) fn series(metrics: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    metrics.lines().find_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (line_name, line_labels) = series.split_once('{').unwrap_or((series, ""));
        let has = |(label, value): &(&str, &str)| line_labels.contains(&format!("{label}=\"{value}\""));
        (line_name == name && labels.iter().all(has)).then(|| value.parse().ok())?
    })
}

/// An answer of the HTTP door.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What came after the body.
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header is text"))
    }

    async fn of(response: http::Response<hyper::body::Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let whole = body.collect().await.expect("the body is whole");
        let trailers = whole.trailers().cloned().unwrap_or_default();
        Self { status: parts.status.as_u16(), headers: parts.headers, body: whole.to_bytes(), trailers }
    }
}

/// A request to be sent.
pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let builder = Request::builder().method(method).uri(path);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(Full::new(body.into())).expect("a valid request")
}

/// Sends a request by HTTP/1.1, on a connection of its own.
pub(crate) async fn send(address: &str, mut request: Request<Full<Bytes>>) -> Answer {
    let host = address.parse().expect("an address is a header");
    request.headers_mut().entry("host").or_insert(host);
    let exchange = async {
        let stream = TcpStream::connect(address).await.expect("the door is open");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        Answer::of(sender.send_request(request).await.expect("an answer")).await
    };
    in_time("an answer by HTTP/1.1", exchange).await
}

/// Sends a request by HTTP/2, on a connection of its own.
pub(crate) async fn send_http2(address: &str, mut request: Request<Full<Bytes>>) -> Answer {
    *request.uri_mut() = format!("http://{address}{}", request.uri()).parse().expect("a valid URI");
    let exchange = async {
        let stream = TcpStream::connect(address).await.expect("the door is open");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.expect("HTTP/2");
        tokio::spawn(connection);
        Answer::of(sender.send_request(request).await.expect("an answer")).await
    };
    in_time("an answer by HTTP/2", exchange).await
}
