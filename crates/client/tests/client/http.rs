//! A client of HTTP/1.1 on one connection.

use axum::body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, WWW_AUTHENTICATE};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A connection.
pub(crate) struct Http {
    sender: SendRequest<String>,
    address: String,
}

/// What was answered.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) challenge: Option<String>,
    pub(crate) body: String,
}

impl Http {
    pub(crate) async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, address: address.to_owned() }
    }

    /// Makes a request, and waits for all of the answer.
    pub(crate) async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await.unwrap();
        let response: Response<Incoming> =
            self.sender.send_request(request.body(String::new()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(Body::new(body), usize::MAX).await.unwrap();
        let challenge = parts.headers.get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned());
        Answer { code: parts.status.as_u16(), challenge, body: String::from_utf8(body.into()).unwrap() }
    }

    /// A request with a token.
    pub(crate) async fn send_with_token(&mut self, method: &str, path: &str, token: &str) -> Answer {
        self.send(method, path, &[("authorization", &format!("Bearer {token}"))]).await
    }
}
