//! What a connection makes the server hold, and the end of one that makes it hold too much.

use std::convert::Infallible;
use std::future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{StreamExt as _, iter, pending};
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use key_authority_proto::ext_authz;
use key_authority_proto::ext_authz::attribute_context::{self, HttpRequest};
use key_authority_proto::v1::*;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tonic::transport::Endpoint;

use crate::support::client::{Client, key_for, question};
use crate::support::http::{request, send_http2, series};
use crate::support::{Authority, Database, Setup, eventually, in_time};

const MIB: usize = 1 << 20;
/// A little less than the maximum size of a request.
const UNFINISHED: usize = 4 * MIB - MIB / 16;
/// The time in which a peer reads nothing, and some more.
const STALL: Duration = Duration::from_mins(1);

/// Waits until the metrics have this line.
async fn metric(authority: &Authority, line: &str) {
    eventually(line, async || authority.metrics().await.lines().any(|other| other == line).then_some(())).await;
}

/// Fails unless another client of the server is served.
async fn assert_serves(authority: &Authority) {
    authority.client().verify(question("no token")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reads_no_response_is_cut() {
    let authority = Setup::on(Database::Sqlite).log("info").start().await;
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let scopes = (0..100).map(|number| format!("{number:s>128}")).collect();
    let key = client.new_key(CreateKeyRequest { scopes, ..key_for("acme") }).await;
    let batch = BatchVerifyRequest { requests: vec![question(&key.token); 100] };
    let unread = Endpoint::try_from(format!("http://{}", authority.grpc())).unwrap().initial_stream_window_size(0);
    let unread = unread.connect().await.unwrap();
    let unread = Client::with_authorization(unread, Some(&format!("Bearer {}", authority.root_token())));
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        let (unread, batch) = (unread.clone(), batch.clone());
        calls.spawn(async move { unread.batch_verify(batch).await });
    }
    let is_held = async || {
        let held = authority.metrics().await;
        held.lines().any(|line| line.starts_with("keyauthority_held_bytes ") && !line.ends_with(" 0")).then_some(())
    };
    eventually("responses are held", is_held).await;
    assert_serves(&authority).await;
    let ended = tokio::time::timeout(STALL, calls.join_all()).await.expect("the connection is cut");
    assert!(ended.iter().all(Result::is_err), "{ended:?}");
    metric(&authority, r#"keyauthority_connections_cut_total{reason="not_read"} 1"#).await;
    metric(&authority, "keyauthority_held_bytes 0").await;
    assert!(authority.output().contains("not_read"), "{}", authority.output());
    assert_serves(&authority).await;
}

/// A connection of HTTP/2 with requests whose bodies do not end.
struct Unfinished {
    address: String,
    sender: SendRequest<UnsyncBoxBody<Bytes, Infallible>>,
    connection: JoinHandle<()>,
    /// The status codes of the responses, with the trailers, or the headers of those without.
    answers: JoinSet<(u16, HeaderMap)>,
}

impl Unfinished {
    async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        Self { address: address.to_owned(), sender, connection, answers: JoinSet::new() }
    }

    /// Sends a request whose body begins with these parts.
    async fn send(&mut self, path: &str, headers: &[(String, String)], parts: Vec<Bytes>) {
        let parts = iter(parts).chain(pending()).map(|part| Ok(Frame::data(part)));
        self.send_body(path, headers, StreamBody::new(parts).boxed_unsync()).await;
    }

    async fn send_body(&mut self, path: &str, headers: &[(String, String)], body: UnsyncBoxBody<Bytes, Infallible>) {
        let mut request = Request::post(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        in_time("the connection is ready", self.sender.ready()).await.unwrap();
        let request = request.body(body).unwrap();
        let response = self.sender.send_request(request);
        self.answers.spawn(async move {
            // A connection that is cut gives no answer.
            let Ok(response) = response.await else { return future::pending().await };
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let Ok(body) = response.into_body().collect().await else { return future::pending().await };
            (status, body.trailers().cloned().unwrap_or(headers))
        });
    }

    /// The first answer.
    async fn answer(&mut self) -> (u16, HeaderMap) {
        in_time("a call is answered", self.answers.join_next()).await.unwrap().unwrap()
    }
}

/// The headers of a gRPC call.
fn grpc(token: Option<&str>) -> Vec<(String, String)> {
    let bearer = token.map(|token| ("authorization", format!("Bearer {token}")));
    let usual = [("content-type", "application/grpc".to_owned()), ("te", "trailers".to_owned())];
    usual.into_iter().chain(bearer).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Opens a connection with `calls` requests that are announced as a whole and end a little before.
async fn unfinished(authority: &Authority, calls: usize) -> Unfinished {
    let mut connection = Unfinished::open(authority.grpc()).await;
    for _ in 0..calls {
        let announced = u32::try_from(4 * MIB).unwrap().to_be_bytes();
        // The beginning of the account, which has no end.
        let head = [&[0][..], &announced, &[0x0a, 0x80, 0x80, 0x80, 0x02]].concat().into();
        let parts = vec![head, Bytes::from(vec![0; UNFINISHED])];
        let headers = grpc(Some(&authority.root_token()));
        connection.send("/keyauthority.v1.KeyAuthority/CreateKey", &headers, parts).await;
    }
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_holds_few_bytes_of_forms() {
    let authority = Setup::on(Database::Sqlite).start().await;
    let mut connection = Unfinished::open(authority.api()).await;
    let form = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")];
    let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for _ in 0..8 {
        connection.send("/console/create-account", &form, vec![Bytes::from(vec![b'a'; 15 * 1024])]).await;
    }
    // The form that is too much is not kept.
    assert_eq!(connection.answer().await.0, 403);
    assert_serves(&authority).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_does_not_read_may_not_send() {
    let authority = Setup::on(Database::Sqlite).start().await;
    let stream = TcpStream::connect(authority.api()).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let handshake = builder.initial_stream_window_size(0).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let url = |path| format!("http://{}{path}", authority.api());
    let mut unread = JoinSet::new();
    for _ in 0..16 {
        let get = Request::get(url("/openapi.json")).body(Full::new(Bytes::new())).unwrap();
        in_time("the connection is ready", sender.ready()).await.unwrap();
        unread.spawn(sender.send_request(get));
    }
    let held = async || {
        let metrics = authority.metrics().await;
        series(&metrics, "keyauthority_held_bytes", &[]).filter(|bytes| *bytes >= 256.0 * 1024.0)
    };
    eventually("the connection has no room", held).await;
    // HTTP/2 would keep what arrives of the body until there is room.
    let post = Request::post(url("/console/sign-in")).body(Full::new(Bytes::from(vec![b'a'; 200 * 1024]))).unwrap();
    in_time("the connection is ready", sender.ready()).await.unwrap();
    let refused = in_time("a form is answered", sender.send_request(post)).await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_serves(&authority).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_headers_of_a_waiting_call_count() {
    let authority = Setup::on(Database::Sqlite).start().await;
    let mut connection = Unfinished::open(authority.grpc()).await;
    let small = (0..400).map(|number| (format!("x{number}"), "1".to_owned()));
    let headers: Vec<_> = grpc(None).into_iter().chain(small).collect();
    for _ in 0..3 {
        connection.send("/grpc.health.v1.Health/Check", &headers, vec![Bytes::from_static(&[0])]).await;
    }
    let (_, refused) = connection.answer().await;
    assert_eq!(refused["grpc-status"], "8", "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_messages_of_streams_count() {
    let authority = Setup::on(Database::Sqlite).flags(["--max-held-mib", "192"]).start().await;
    let mut connection = Unfinished::open(authority.grpc()).await;
    let headers = grpc(Some(&authority.root_token()));
    let announced = 65_000_u32.to_be_bytes();
    for _ in 0..400 {
        let head = [&[0][..], &announced].concat().into();
        let parts = vec![head, Bytes::from(vec![0; 64_000])];
        connection.send("/keyauthority.v1.KeyAuthority/VerifyStream", &headers, parts).await;
    }
    // All of them would be 24.4 MiB, more than an eighth of the budget.
    let (_, refused) = connection.answer().await;
    assert_eq!(refused["grpc-status"], "8", "{refused:?}");
    assert_serves(&authority).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_end_takes_no_turn_of_a_page() {
    let authority = Setup::on(Database::Sqlite).start().await;
    let mut connection = Unfinished::open(authority.grpc()).await;
    let headers = grpc(Some(&authority.root_token()));
    for _ in 0..2 {
        connection.send("/keyauthority.v1.KeyAuthority/ListKeys", &headers, vec![Bytes::from_static(&[0])]).await;
    }
    let whole = Full::new(Bytes::from_static(&[0; 5])).boxed_unsync();
    connection.send_body("/keyauthority.v1.KeyAuthority/ListAccounts", &headers, whole).await;
    let (_, answered) = connection.answer().await;
    assert_eq!(answered["grpc-status"], "0", "{answered:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_very_many_fields_is_refused_before_it_is_decoded() {
    let authority = Setup::on(Database::Sqlite).start().await;
    let mut connection = Unfinished::open(authority.grpc()).await;
    // Empty keys to import: each has two bytes, and would have hundreds in memory.
    let keys = [0x12, 0].repeat(1 << 20);
    let announced = u32::try_from(keys.len() + 2).unwrap().to_be_bytes();
    let parts = vec![[&[0][..], &announced].concat().into(), Bytes::from(keys)];
    connection.send("/keyauthority.v1.KeyAuthority/ImportKeys", &grpc(Some(&authority.root_token())), parts).await;
    let (_, refused) = connection.answer().await;
    assert_eq!(refused["grpc-status"], "3", "{refused:?}");
    assert_serves(&authority).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_messages_of_very_many_fields_is_refused_before_it_is_decoded() {
    let authority = Setup::on(Database::Sqlite).start().await;
    let key = Key { secrets: vec![KeySecret::default(); 30_000], ..Default::default() };
    let update = UpdateKeyRequest { key: Some(key), ..Default::default() };
    let imported = ImportedKey { scopes: vec![String::new(); 3_000_001], ..Default::default() };
    let import = ImportKeysRequest { keys: vec![imported], ..Default::default() };
    let header_map = ext_authz::HeaderMap { headers: vec![ext_authz::HeaderValue::default(); 110_000] };
    let http = HttpRequest { header_map: Some(header_map), ..Default::default() };
    let request = Some(attribute_context::Request { http: Some(http) });
    let attributes = Some(ext_authz::AttributeContext { request, ..Default::default() });
    let check = ext_authz::CheckRequest { attributes };
    // The headers again, in attributes that claim to have 5 bytes: a message that prost decodes before it fails.
    let mut cut = check.encode_to_vec();
    let claimed = cut.iter().skip(1).position(|byte| *byte < 0x80).unwrap() + 2;
    cut.splice(1..claimed, [5]);
    for (path, message) in [
        ("/envoy.service.auth.v3.Authorization/Check", cut),
        ("/keyauthority.v1.KeyAuthority/UpdateKey", update.encode_to_vec()),
        ("/keyauthority.v1.KeyAuthority/ImportKeys", import.encode_to_vec()),
        ("/envoy.service.auth.v3.Authorization/Check", check.encode_to_vec()),
    ] {
        let mut connection = Unfinished::open(authority.grpc()).await;
        let announced = u32::try_from(message.len() + 2).unwrap().to_be_bytes();
        let parts = vec![[&[0][..], &announced].concat().into(), Bytes::from(message)];
        connection.send(path, &grpc(Some(&authority.root_token())), parts).await;
        let (_, refused) = connection.answer().await;
        assert_eq!(refused["grpc-status"], "3", "{path}: {refused:?}");
    }
    assert_serves(&authority).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_many_empty_messages_counts() {
    let authority = Setup::on(Database::Sqlite).flags(["--max-held-mib", "192"]).start().await;
    let mut connection = Unfinished::open(authority.grpc()).await;
    let headers = grpc(Some(&authority.root_token()));
    for _ in 0..16 {
        let parts = vec![Bytes::from(vec![0; 2 * MIB])];
        connection.send("/keyauthority.v1.KeyAuthority/ListKeys", &headers, parts).await;
    }
    // All of them would be 32 MiB, more than an eighth of the budget.
    let (_, refused) = connection.answer().await;
    assert_eq!(refused["grpc-status"], "8", "{refused:?}");
    assert_serves(&authority).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_very_many_fields_is_refused_at_the_door() {
    let authority = Setup::on(Database::Sqlite).start().await;
    let bearer = format!("Bearer {}", authority.root_token());
    // Empty scopes: two bytes each, and some thirty in memory.
    let proto = Bytes::from([0x2a, 0].repeat(2_000_000));
    let json = serde_json::json!({ "scopes": vec![""; 300_000] }).to_string();
    for (content_type, body, max) in [("application/proto", proto, 5_000), ("application/json", json.into(), 100_000)] {
        let headers = [("content-type", content_type), ("authorization", bearer.as_str())];
        let create = request("POST", "/keyauthority.v1.KeyAuthority/CreateKey", &headers, body);
        let refused = send_http2(authority.api(), create).await;
        let text = String::from_utf8_lossy(&refused.body);
        assert!(refused.status == 400 && text.contains(&format!("at most {max} fields")), "{content_type}: {text}");
    }
    assert_serves(&authority).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_holder_is_cut_when_the_process_is_over_its_budget() {
    let authority = Setup::on(Database::Sqlite).log("info").flags(["--max-held-mib", "192"]).start().await;
    let largest = unfinished(&authority, 5).await;
    let mut others = Vec::new();
    // Each of the others holds 16 MiB, so that eleven of them and the largest are over the budget.
    for _ in 0..11 {
        others.push(unfinished(&authority, 4).await);
    }
    in_time("the largest holder is cut", largest.connection).await.unwrap();
    metric(&authority, r#"keyauthority_connections_cut_total{reason="largest_holder"} 1"#).await;
    assert!(others.iter().all(|other| !other.connection.is_finished()), "only the largest is cut");
    assert_serves(&authority).await;
}
