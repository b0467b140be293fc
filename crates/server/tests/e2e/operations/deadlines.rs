//! A deadline that passes is answered with `DEADLINE_EXCEEDED`, by the server: clients' libraries must not have to guess.

use std::time::Duration;

use http::{HeaderMap, Request};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use key_authority_proto::v1::*;
use prost::Message;
use tokio::net::TcpStream;
use tonic::Code;

use crate::support::client::key_for;
use crate::support::{Authority, Database, Setup, in_time, on_database_servers};

/// Calls a method with this `grpc-timeout`, without a client's library that would keep the time itself; returns the code.
async fn code_of(authority: &Authority, method: &str, message: &impl Message, timeout: &str) -> Code {
    let stream = TcpStream::connect(authority.grpc()).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    frame.extend(message.encode_to_vec());
    let request = Request::post(format!("http://{}/keyauthority.v1.KeyAuthority/{method}", authority.grpc()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .header("authorization", format!("Bearer {}", authority.root_token()))
        .body(axum::body::Body::from(frame))
        .unwrap();
    let response = in_time("the answer", sender.send_request(request)).await.unwrap();
    // An error before any message has its status among the headers.
    let status = |headers: &HeaderMap| headers.get("grpc-status").map(|code| code.to_str().unwrap().to_owned());
    let code = status(response.headers()).unwrap_or_else(|| panic!("no status in {:?}", response.headers()));
    Code::from_bytes(code.as_bytes())
}

async fn a_deadline_that_passes_is_answered(database: Database) {
    let authority = Setup::on(database).linked().start().await;
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let key = client.key_in("acme").await;
    authority.link().pause();
    let get = GetKeyRequest { key_id: key.id() };
    let answered = tokio::time::timeout(Duration::from_secs(2), code_of(&authority, "GetKey", &get, "200m")).await;
    assert_eq!(answered.expect("it does not wait for the database"), Code::DeadlineExceeded);
    let create = CreateKeyRequest { request_id: "late".into(), ..key_for("acme") };
    assert_eq!(code_of(&authority, "CreateKey", &create, "200m").await, Code::DeadlineExceeded);
    authority.link().open();

    // It ends the call, not the change: repeated, there is one key, whatever became of the first.
    let created =
        crate::support::eventually("admin calls work again", async || client.create_key(create.clone()).await.ok());
    let id = created.await.key.unwrap().id;
    let ids: Vec<_> = client.keys_of("acme").await.into_iter().map(|key| key.id).collect();
    assert_eq!(ids, [id, key.id()]);
}

async fn nonsense_for_a_deadline_does_no_harm(database: Database) {
    let authority = Setup::on(database).start().await;
    for timeout in ["", "1", "S", "-1S", "99999999999H", "1x"] {
        let nothing = GetKeyRequest { key_id: "nothing".into() };
        let code = code_of(&authority, "GetKey", &nothing, timeout).await;
        assert_eq!(code, Code::NotFound, "{timeout:?} is as good as none");
    }
}

on_database_servers! { a_deadline_that_passes_is_answered }

mod once {
    use super::*;
    crate::support::on_sqlite! { nonsense_for_a_deadline_does_no_harm }
}
