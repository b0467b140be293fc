//! An HTTP/1.1 client on one connection.

use axum::body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, WWW_AUTHENTICATE};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// An open connection.
pub(crate) struct Http {
    sender: SendRequest<String>,
    address: String,
}

/// The parts of a response that the tests compare.
#[derive(Debug, PartialEq)]
pub(crate) struct HttpResponse {
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

    /// Sends a request, and reads the whole response.
    pub(crate) async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> HttpResponse {
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
        HttpResponse { code: parts.status.as_u16(), challenge, body: String::from_utf8(body.into()).unwrap() }
    }

    /// Sends a request with a bearer token.
    pub(crate) async fn send_with_token(&mut self, method: &str, path: &str, token: &str) -> HttpResponse {
        self.send(method, path, &[("authorization", &format!("Bearer {token}"))]).await
    }
}
