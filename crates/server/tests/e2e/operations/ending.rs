//! SIGTERM: an orderly end within ten seconds, whoever holds on.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use key_authority_proto::v1::*;
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tonic_health::pb::HealthCheckRequest;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use crate::support::authority::VERIFY;
use crate::support::client::{key_for, question};
use crate::support::{Authority, eventually, in_time, on_every_database, on_sqlite};

/// What an orchestrator waits before it kills.
const GRACE: Duration = Duration::from_secs(10);

async fn it_ends_in_time_under_load_with_a_watcher_and_a_silent_connection(mut authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let key = client.key_in("acme").await;
    // Those who hold on: a watcher, a connection that never sends a byte, an open stream of questions.
    let request = HealthCheckRequest { service: VERIFY.into() };
    let mut watch = authority.health().watch(request).await.unwrap().into_inner();
    in_time("the first state", watch.message()).await.unwrap();
    let silent = TcpStream::connect(authority.grpc()).await.unwrap();
    let silent_http = TcpStream::connect(authority.http()).await.unwrap();
    let (ask, questions) = mpsc::unbounded_channel();
    let questions = tokio_stream::wrappers::UnboundedReceiverStream::new(questions);
    let mut stream = client.verify_stream(questions).await.unwrap();
    ask.send(VerifyStreamRequest { id: 1, request: Some(question(&key.token)) }).unwrap();
    in_time("an outcome", stream.message()).await.unwrap();

    // Load: callers on connections of their own that stop when they are turned away.
    let (begun, mut beginnings) = mpsc::unbounded_channel();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..6 {
        let credential = format!("Bearer {}", authority.root_token());
        let client = crate::support::Client::with_authorization(authority.new_channel(), Some(&credential));
        let (token, begun) = (key.token.clone(), begun.clone());
        callers.spawn(async move {
            let mut created = Vec::new();
            loop {
                let answer = if caller % 3 == 0 {
                    client.create_key(key_for("acme")).await.map(|answer| created.extend(answer.key.map(|key| key.id)))
                } else {
                    client.verify(question(&token)).await.map(|answer| assert_eq!(answer.verdict(), Verdict::Valid))
                };
                let _ = begun.send(());
                if answer.is_err() {
                    return created;
                }
            }
        });
    }
    for _ in 0..200 {
        in_time("calls are answered", beginnings.recv()).await;
    }
    let ended = tokio::time::timeout(GRACE, authority.stop()).await;
    let status = ended.unwrap_or_else(|_| panic!("it does not end within {GRACE:?}"));
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    drop((silent, silent_http, ask));
    let acknowledged: Vec<_> = callers.join_all().await.concat();

    authority.restart().await;
    let client = authority.client();
    for id in &acknowledged {
        client.key(id).await;
    }
    let replicas = client.get_authority_status(GetAuthorityStatusRequest {}).await.unwrap().replicas;
    assert_eq!(replicas.len(), 1, "it left the registry: nobody waits for it: {replicas:?}");
    authority.subcommand(&["audit", "verify"], &[]).await.well();
}

async fn streams_that_nobody_ends_hold_nothing_up(mut authority: Authority) {
    let client = authority.client();
    let (ask, questions) = mpsc::unbounded_channel();
    let questions = tokio_stream::wrappers::UnboundedReceiverStream::new(questions);
    let mut stream = client.verify_stream(questions).await.unwrap();
    ask.send(VerifyStreamRequest { id: 1, request: Some(question("none")) }).unwrap();
    in_time("an outcome", stream.message()).await.unwrap();
    // As grpcurl keeps one open beside a call.
    let (reflect, requests) = mpsc::unbounded_channel();
    let requests = tokio_stream::wrappers::UnboundedReceiverStream::new(requests);
    let mut reflection = ServerReflectionClient::new(authority.channel());
    let message_request = Some(MessageRequest::ListServices(String::new()));
    reflect.send(ServerReflectionRequest { host: String::new(), message_request }).unwrap();
    let mut services = reflection.server_reflection_info(requests).await.unwrap().into_inner();
    in_time("a list", services.message()).await.unwrap();

    assert!(authority.stop().await.success());
    assert!(in_time("the end of the questions", stream.message()).await.unwrap().is_none());
    assert!(in_time("the end of the reflection", services.message()).await.unwrap().is_none());
    let closed = eventually("the listener's end is logged", async || {
        authority.output().lines().find(|line| line.contains("listener closed")).map(str::to_owned)
    });
    let closed = closed.await;
    assert!(closed.contains(r#""cut":0"#), "nothing was waited for until the drain was over: {closed}");
    drop((ask, reflect));
}

async fn an_interrupt_from_the_terminal_is_an_orderly_end_too(mut authority: Authority) {
    authority.signal(Signal::INT);
    let ended = tokio::time::timeout(GRACE, authority.wait()).await.expect("it ends in time");
    assert!(ended.success(), "{ended}");
}

on_every_database! {
    it_ends_in_time_under_load_with_a_watcher_and_a_silent_connection,
    an_interrupt_from_the_terminal_is_an_orderly_end_too,
}

mod once {
    use super::*;
    on_sqlite! {
        streams_that_nobody_ends_hold_nothing_up,
    }
}
