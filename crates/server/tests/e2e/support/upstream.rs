//! A service behind a proxy, which responds with the request that it received, and a client that sends any bytes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use axum::Router;
use axum::extract::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use super::in_time;

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
    /// Reads a response. Values of one header are joined by ` | `.
    fn parse(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer:?}"));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("it has a status");
        let mut headers = BTreeMap::<String, String>::new();
        for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(": ")) {
            let values = headers.entry(name.to_lowercase()).or_default();
            let separator = if values.is_empty() { "" } else { " | " };
            values.extend([separator, value]);
        }
        Self { code, headers, body: body.to_owned() }
    }

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
    /// The headers that describe a key, and those that a server could take for them: for some, every character but letters
    /// and digits is the same.
    pub(crate) fn of_key(&self) -> Vec<(&str, &str)> {
        let plain = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let is_of_key = |name: &str| plain(name).starts_with("x-key-");
        let headers = self.headers.iter().filter(|(name, _)| is_of_key(name));
        headers.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// Sends a GET request with these header lines, byte for byte.
pub(crate) async fn send(address: &str, path: &[u8], lines: &[&[u8]]) -> Reply {
    send_from(IpAddr::V4(Ipv4Addr::LOCALHOST), address, path, lines).await
}

/// The same from one of the addresses of this machine.
pub(crate) async fn send_from(source: IpAddr, address: &str, path: &[u8], lines: &[&[u8]]) -> Reply {
    let mut request = [b"GET ", path, b" HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"].concat();
    for line in lines {
        request.extend_from_slice(line);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let exchange = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        let mut stream = socket.connect(address.parse().expect("an address")).await?;
        stream.write_all(&request).await?;
        let mut answer = Vec::new();
        // A server that rejects a request may reset the connection after its response.
        let read = stream.read_to_end(&mut answer).await;
        if answer.is_empty() { read.map(|_| answer) } else { Ok(answer) }
    };
    let answer = in_time("an answer", exchange).await.unwrap_or_else(|error| panic!("{address}: {error}"));
    Reply::parse(&String::from_utf8_lossy(&answer))
}
