//! Connections of the HTTP door: what holds them back is limited, and they end in order.

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::path;
use crate::support::certificates::Certificates;
use crate::support::process::Server;
use crate::support::{Authority, Database, Setup, eventually, in_time, on_sqlite};

/// A connection by HTTP/1.1 that is kept.
struct Kept(TcpStream);

impl Kept {
    async fn open(authority: &Authority) -> Self {
        Self(TcpStream::connect(authority.api()).await.unwrap())
    }

    async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Sends the head of a request with the root token.
    async fn begin(&mut self, authority: &Authority, target: &str, content_type: &str, length: usize) {
        self.begin_with(&authority.root_token(), target, content_type, length).await;
    }

    /// Sends the head of a request with this token.
    async fn begin_with(&mut self, token: &str, target: &str, content_type: &str, length: usize) {
        self.write(&format!(
            "POST {target} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-type: {content_type}\r\n\
             content-length: {length}\r\n\r\n"
        ))
        .await;
    }

    /// Calls a method with an empty message and the root token, and returns the answer.
    async fn call(&mut self, authority: &Authority) -> String {
        self.call_with(&authority.root_token()).await
    }

    /// Calls a method with an empty message and this token, and returns the answer.
    async fn call_with(&mut self, token: &str) -> String {
        self.begin_with(token, &path("GetAuthorityStatus"), "application/json", 2).await;
        self.write("{}").await;
        self.answer().await
    }

    /// Reads an answer whose body has a length.
    async fn answer(&mut self) -> String {
        let mut answer = String::new();
        in_time("an answer", async {
            loop {
                let mut buffer = [0; 4096];
                let count = self.0.read(&mut buffer).await.unwrap();
                assert_ne!(count, 0, "the connection ended after: {answer}");
                answer.push_str(&String::from_utf8_lossy(&buffer[..count]));
                let Some((head, body)) = answer.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.expect("a length").parse().unwrap() {
                    return;
                }
            }
        })
        .await;
        answer
    }

    /// Awaits that the server closes it.
    async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = in_time("the connection is closed", self.0.read_to_end(&mut rest)).await;
    }
}

async fn a_kept_connection_serves_many_calls_and_ends_with_the_server(mut authority: Authority) {
    let mut kept = Kept::open(&authority).await;
    for _ in 0..3 {
        assert!(kept.call(&authority).await.starts_with("HTTP/1.1 200 OK"));
    }
    authority.signal(Signal::TERM);
    kept.closed().await;
    assert!(authority.wait().await.success());
    let closed: Vec<_> =
        authority.output().lines().filter(|line| line.contains("listener closed")).map(str::to_owned).collect();
    assert!(closed.len() == 2 && closed.iter().all(|line| line.contains("\"cut\":0")), "{closed:?}");
}

async fn a_connection_that_sends_nothing_is_closed(database: Database) {
    let authority = Setup::on(database).flags(["--preface-timeout", "200ms"]).start().await;
    Kept::open(&authority).await.closed().await;
}

async fn strangers_make_room_and_known_callers_stay(database: Database) {
    // One stranger from each address.
    let flags = ["--max-unauthenticated-connections", "4"];
    let authority = Setup::on(database).log("info").flags(flags).start().await;
    let mut known = Kept::open(&authority).await;
    known.call(&authority).await;
    let mut first = Kept::open(&authority).await;
    first.write("GET /openapi.json HTTP/1.1\r\n").await;
    let mut second = Kept::open(&authority).await;
    first.closed().await;
    let peer = format!("\"peer\":\"{}\",\"reason\":\"evicted\"", first.0.local_addr().unwrap());
    let logged = async || authority.output().contains(&peer).then_some(());
    eventually("the log names the connection", logged).await;
    second.write("GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(second.answer().await.starts_with("HTTP/1.1 200 OK"));
    assert!(known.call(&authority).await.starts_with("HTTP/1.1 200 OK"));
}

async fn the_connections_of_a_revoked_caller_are_strangers_again(database: Database) {
    // One stranger from each address.
    let authority = Setup::on(database).flags(["--max-unauthenticated-connections", "4"]).start().await;
    let (caller, _) = authority.new_caller(&["operate"], None).await;
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut connection = Kept::open(&authority).await;
        assert!(connection.call_with(&caller.token).await.starts_with("HTTP/1.1 200 OK"));
        kept.push(connection);
    }
    let mut root = Kept::open(&authority).await;
    root.call(&authority).await;
    authority.client().revoke(&caller.id()).await;
    let newest = kept.pop();
    for connection in &mut kept {
        connection.closed().await;
    }
    let mut newest = newest.unwrap();
    assert!(newest.call_with(&caller.token).await.starts_with("HTTP/1.1 401"));
    let mut stranger = Kept::open(&authority).await;
    newest.closed().await;
    assert!(stranger.call(&authority).await.starts_with("HTTP/1.1 200 OK"));
    assert!(root.call(&authority).await.starts_with("HTTP/1.1 200 OK"));
}

async fn a_body_that_does_not_come_has_a_deadline(database: Database) {
    let authority = Setup::on(database).flags(["--request-timeout", "500ms"]).start().await;
    let form = "application/x-www-form-urlencoded";
    for (target, content_type, status) in
        [(path("GetKey"), "application/json", "HTTP/1.1 504"), ("/introspect".to_owned(), form, "HTTP/1.1 408")]
    {
        let mut slow = Kept::open(&authority).await;
        slow.begin(&authority, &target, content_type, 100).await;
        slow.write("{").await;
        let answer = slow.answer().await;
        assert!(answer.starts_with(status) && answer.contains("deadline_exceeded"), "{target}: {answer}");
    }
}

async fn a_denial_waits_for_the_body_and_the_connection_stays(authority: Authority) {
    let mut kept = Kept::open(&authority).await;
    // The server knows its response from the head alone.
    for target in [path("GetKey"), path("Nothing"), path("VerifyStream"), "/introspect".into(), "/nowhere".into()] {
        for _ in 0..20 {
            kept.begin_with("unknown", &target, "application/json", 2).await;
            tokio::task::yield_now().await;
            kept.write("{}").await;
            let answer = kept.answer().await;
            assert!(answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 501"), "{target}: {answer}");
            assert!(!answer.to_lowercase().contains("connection: close"), "{target}: {answer}");
        }
    }
    // It does not wait for ever.
    kept.begin_with("unknown", &path("GetKey"), "application/json", 2).await;
    assert!(kept.answer().await.starts_with("HTTP/1.1 401"));
    kept.closed().await;
}

async fn with_certificates_it_speaks_tls(database: Database) {
    let certificates = Certificates::new();
    let authority = Setup::on(database).flags(certificates.flags(false)).prepare().await;
    let server = Server::start(authority.serve_command(), authority.folder()).await;
    let port = server.api.rsplit(':').next().unwrap();
    for version in ["--http1.1", "--http2"] {
        let fetched = tokio::process::Command::new("curl")
            .args(["-sS", version, "--cacert"])
            .arg(certificates.path("ca.pem"))
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1"), "-w", "\n%{http_version} %{http_code}"])
            .arg(format!("https://localhost:{port}/openapi.json"))
            .output();
        let fetched = in_time("curl", fetched).await.unwrap();
        let text = String::from_utf8_lossy(&fetched.stdout);
        let expected = if version == "--http2" { "\n2 200" } else { "\n1.1 200" };
        assert!(text.ends_with(expected), "{version}: {text} {}", String::from_utf8_lossy(&fetched.stderr));
    }
}

async fn a_deadline_of_the_client_is_kept(authority: Authority) {
    let mut slow = Kept::open(&authority).await;
    let (target, token) = (path("GetKey"), authority.root_token());
    slow.write(&format!(
        "POST {target} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         connect-timeout-ms: 50\r\ncontent-length: 100\r\n\r\n{{"
    ))
    .await;
    let answer = slow.answer().await;
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("deadline_exceeded"), "{answer}");
}

on_sqlite! {
    a_deadline_of_the_client_is_kept,
    a_denial_waits_for_the_body_and_the_connection_stays,
    a_kept_connection_serves_many_calls_and_ends_with_the_server,
    a_connection_that_sends_nothing_is_closed,
    strangers_make_room_and_known_callers_stay,
    the_connections_of_a_revoked_caller_are_strangers_again,
    a_body_that_does_not_come_has_a_deadline,
    with_certificates_it_speaks_tls,
}
