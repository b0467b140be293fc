//! What stands behind the proxy: a service that answers with what it was asked. And a client that can ask badly.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::in_time;

/// The service. It ends with this value.
pub(crate) struct Upstream {
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().fallback(async |request: Request| echo(&request).to_string());
        let task = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { port, task }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a request is made of: each header with all its values.
fn echo(request: &Request) -> Value {
    let mut headers = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in request.headers() {
        headers.entry(name.as_str()).or_default().push(String::from_utf8_lossy(value.as_bytes()));
    }
    json!({ "path": request.uri().to_string(), "headers": headers })
}

/// An answer of HTTP.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Reply {
    /// What reached the service; fails unless something did.
    #[track_caller]
    pub(crate) fn passed(&self) -> Seen {
        assert_eq!(self.code, 200, "{self:?}");
        let seen: Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("of the service: {self:?}"));
        let headers = seen["headers"].as_object().unwrap().iter();
        let joined = |values: &Value| {
            values.as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect::<Vec<_>>().join(" | ")
        };
        Seen {
            path: seen["path"].as_str().unwrap().to_owned(),
            headers: headers.map(|(name, values)| (name.clone(), joined(values))).collect(),
        }
    }

    /// Fails unless it is a denial with this status, by this verdict; empty for none.
    #[track_caller]
    pub(crate) fn denied(&self, code: u16, verdict: &str) {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("of the authority: {self:?}"));
        assert_eq!((self.code, body["verdict"].as_str().unwrap_or_default()), (code, verdict), "{self:?}");
        assert_eq!(self.headers.get("content-type").map(String::as_str), Some("application/json"), "{self:?}");
        assert!(self.headers["www-authenticate"].starts_with("Bearer realm=\"keyauthority\""), "{self:?}");
    }
}

/// What reached the service.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Seen {
    /// The headers that tell of a key, and those that could be taken for them.
    pub(crate) fn of_key(&self) -> Vec<(&str, &str)> {
        let is_of_key = |name: &str| name.replace('_', "-").starts_with("x-key-");
        let headers = self.headers.iter().filter(|(name, _)| is_of_key(name));
        headers.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// Sends a request with these lines for headers, byte for byte.
pub(crate) async fn send(address: &str, path: &[u8], lines: &[&[u8]]) -> Reply {
    let mut request = [b"GET ", path, b" HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"].concat();
    for line in lines {
        request.extend_from_slice(line);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&request).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8(answer).expect("the answer is UTF-8"))
    };
    let answer = in_time("an answer", exchange).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("the answer has a head: {answer:?}"));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("it has a status");
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    Reply { code, headers: head.lines().skip(1).filter_map(header).collect(), body: body.to_owned() }
}
