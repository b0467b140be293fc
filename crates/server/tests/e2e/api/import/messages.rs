//! Whole messages: what rejects one, dry runs, callers that may not import, and the end of a stream.

use key_authority_proto::v1::*;
use tonic::Code;

use super::{counts, into, named, reasons, revision, token, with_account};
use crate::support::{Authority, invalid, on_every_database, refused};

async fn a_message_that_is_wrong_as_a_whole_ends_the_stream(authority: Authority) {
    let client = with_account(&authority).await;
    client.new_account("asleep", KeyPolicy::default()).await;
    client.suspend_account(SuspendAccountRequest { account: "asleep".into(), ..Default::default() }).await.unwrap();
    invalid(client.import(into("", vec![named("a")])).await, "account");
    invalid(client.import(into("acme", vec![])).await, "keys");
    invalid(client.import(into("acme", vec![ImportedKey::default(); 10_001])).await, "keys");
    invalid(
        client.import(ImportKeysRequest { request_id: "a b".into(), ..into("acme", vec![named("a")]) }).await,
        "request_id",
    );
    refused(client.import(into("nobody", vec![named("a")])).await, Code::NotFound, "ACCOUNT_NOT_FOUND");
    refused(client.import(into("system", vec![named("a")])).await, Code::FailedPrecondition, "ACCOUNT_RESERVED");
    refused(client.import(into("asleep", vec![named("a")])).await, Code::FailedPrecondition, "ACCOUNT_SUSPENDED");
    let too_large = ImportedKey { description: "x".repeat(17 << 20), ..named("a") };
    assert_eq!(client.import(into("acme", vec![too_large])).await.unwrap_err().code(), Code::OutOfRange);

    let messages =
        [into("acme", vec![named("first")]), into("nobody", vec![named("b")]), into("acme", vec![named("c")])];
    let mut answers = client.import_keys(tokio_stream::iter(messages)).await.unwrap();
    assert_eq!(counts(&answers.message().await.unwrap().unwrap()), (1, 0, 0));
    refused(answers.message().await, Code::NotFound, "ACCOUNT_NOT_FOUND");
    let ids: Vec<_> = client.keys_of("acme").await.into_iter().map(|key| key.id).collect();
    assert_eq!(ids, ["first"], "what was answered stands, and nothing came after");
}

async fn a_dry_run_tells_all_and_changes_nothing(authority: Authority) {
    let client = with_account(&authority).await;
    client.import(into("acme", vec![named("there")])).await.unwrap();
    let before = client.events(ListAuditEventsRequest::default()).await.len();
    let dry = ImportKeysRequest {
        dry_run: true,
        request_id: "r".into(),
        ..into("acme", vec![named("there"), named("new"), ImportedKey::default()])
    };
    let answer = client.import(dry.clone()).await.unwrap();
    assert_eq!((counts(&answer), &answer.propagation), ((1, 1, 1), &None));
    assert_eq!(client.events(ListAuditEventsRequest::default()).await.len(), before);
    assert_eq!(client.verdict(&token("new")).await, Verdict::Unknown);
    let real = client.import(ImportKeysRequest { dry_run: false, ..dry }).await.unwrap();
    assert_eq!(reasons(&real), reasons(&answer));
    assert_eq!(client.verdict(&token("new")).await, Verdict::Valid);
}

async fn what_changes_nothing_waits_for_no_change(authority: Authority) {
    let client = with_account(&authority).await;
    let marked = ImportKeysRequest { request_id: "r-1".into(), ..into("acme", vec![named("there")]) };
    let first = client.import(marked.clone()).await.unwrap();
    let held = authority.database().hold_changes();
    let change = tokio::spawn({
        let client = client.clone();
        async move { client.import(into("acme", vec![named("change")])).await }
    });
    let dry = ImportKeysRequest { dry_run: true, ..into("acme", vec![named("there"), named("new")]) };
    assert_eq!(counts(&client.import(dry).await.unwrap()), (1, 1, 0));
    let again = client.import(marked).await.unwrap();
    assert_eq!((counts(&again), revision(&again)), ((1, 0, 0), revision(&first)));
    assert!(!change.is_finished(), "it waits");
    drop(held);
    assert_eq!(counts(&change.await.unwrap().unwrap()), (1, 0, 0));
}

async fn a_caller_whose_key_ends_meanwhile_imports_no_more(authority: Authority) {
    let root = with_account(&authority).await;
    let (caller, client) = authority.new_caller(&["keys.write"], None).await;
    let (send, messages) = tokio::sync::mpsc::channel(1);
    let mut answers = client.import_keys(tokio_stream::wrappers::ReceiverStream::new(messages)).await.unwrap();
    send.send(into("acme", vec![named("a")])).await.unwrap();
    assert_eq!(counts(&answers.message().await.unwrap().unwrap()), (1, 0, 0));
    root.revoke(&caller.id()).await;
    send.send(into("acme", vec![named("b")])).await.unwrap();
    refused(answers.message().await, Code::Unauthenticated, "CALLER_UNKNOWN");
}

async fn an_import_does_not_hold_up_the_end_of_the_server(mut authority: Authority) {
    let client = with_account(&authority).await;
    let (send, messages) = tokio::sync::mpsc::channel(1);
    let mut answers = client.import_keys(tokio_stream::wrappers::ReceiverStream::new(messages)).await.unwrap();
    send.send(into("acme", vec![named("a")])).await.unwrap();
    assert!(answers.message().await.unwrap().is_some());
    assert!(authority.stop().await.success());
    assert!(answers.message().await.unwrap().is_none(), "it ends in order");
}

on_every_database! {
    a_message_that_is_wrong_as_a_whole_ends_the_stream,
    a_dry_run_tells_all_and_changes_nothing,
    what_changes_nothing_waits_for_no_change,
    a_caller_whose_key_ends_meanwhile_imports_no_more,
    an_import_does_not_hold_up_the_end_of_the_server,
}
