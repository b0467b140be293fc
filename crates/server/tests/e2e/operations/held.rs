//! What a connection makes the server hold, and the end of one that makes it hold too much.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{StreamExt as _, iter, pending};
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::rt::{TokioExecutor, TokioIo};
use key_authority_proto::v1::*;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tonic::transport::Endpoint;

use crate::support::client::{Client, key_for, question};
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

/// Opens a connection with `calls` requests that are announced as a whole and end a little before. Returns its task, which
/// ends when the server closes it.
///
/// Dropping the sender would close the connection too.
async fn unfinished(authority: &Authority, calls: usize) -> (impl Sized, JoinHandle<()>) {
    let stream = TcpStream::connect(authority.grpc()).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(async move { drop(connection.await) });
    for _ in 0..calls {
        let announced = u32::try_from(4 * MIB).unwrap().to_be_bytes();
        // The beginning of the account, which has no end.
        let head = [&[0][..], &announced, &[0x0a, 0x80, 0x80, 0x80, 0x02]].concat().into();
        let parts = iter([head, Bytes::from(vec![0; UNFINISHED])]).chain(pending());
        let body = StreamBody::new(parts.map(|part| Ok::<_, std::convert::Infallible>(Frame::data(part))));
        let request = Request::post(format!("http://{}/keyauthority.v1.KeyAuthority/CreateKey", authority.grpc()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {}", authority.root_token()));
        in_time("the connection is ready", sender.ready()).await.unwrap();
        tokio::spawn(sender.send_request(request.body(body).unwrap()));
    }
    (sender, connection)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_holder_is_cut_when_the_process_is_over_its_budget() {
    let authority = Setup::on(Database::Sqlite).log("info").flags(["--max-held-mib", "192"]).start().await;
    let (_sender, largest) = unfinished(&authority, 5).await;
    let mut others = Vec::new();
    // Each of the others holds 16 MiB, so that eleven of them and the largest are over the budget.
    for _ in 0..11 {
        others.push(unfinished(&authority, 4).await);
    }
    in_time("the largest holder is cut", largest).await.unwrap();
    metric(&authority, r#"keyauthority_connections_cut_total{reason="largest_holder"} 1"#).await;
    assert!(others.iter().all(|(_, other)| !other.is_finished()), "only the largest is cut");
    assert_serves(&authority).await;
}
