//! Messages that are sent again, with and without a request ID.

use key_authority_proto::v1::*;
use tonic::Code;

use super::{counts, imports, into, named, numbered, reasons, revision, token, with_account};
use crate::support::{Authority, on_every_database, refused};

async fn an_import_can_be_repeated(mut authority: Authority) {
    let client = with_account(&authority).await;
    let message = into("acme", vec![named("a"), named("b"), ImportedKey::default()]);
    let first = client.import(message.clone()).await.unwrap();
    assert_eq!(counts(&first), (2, 0, 1));
    let again = client.import(message.clone()).await.unwrap();
    assert_eq!((counts(&again), revision(&again)), ((0, 2, 1), revision(&first)), "it is everywhere");
    // The file may have changed since.
    let grown = client.import(into("acme", vec![named("c"), named("b")])).await.unwrap();
    assert_eq!(counts(&grown), (1, 1, 0));
    let otherwise = ImportedKey { key_id: "other-id".into(), ..named("a") };
    assert_eq!(reasons(&client.import(into("acme", vec![otherwise])).await.unwrap()), [(0, "", "TOKEN_EXISTS")]);

    let marked = ImportKeysRequest {
        request_id: "r-1".into(),
        ..into("acme", vec![named("b"), named("d"), named("e"), ImportedKey::default()])
    };
    let first = client.import(marked.clone()).await.unwrap();
    assert_eq!(counts(&first), (2, 1, 1));
    client.delete_key(DeleteKeyRequest { key_id: "e".into(), ..Default::default() }).await.unwrap();
    authority.kill().await;
    authority.restart().await;
    let client = authority.client();
    let again = client.import(marked.clone()).await.unwrap();
    assert_eq!((counts(&again), revision(&again)), ((1, 1, 2), revision(&first)));
    assert_eq!(
        reasons(&again),
        [(2, "", "KEY_NOT_FOUND"), (3, "token", "FIELD_INVALID")],
        "nothing deleted comes back"
    );
    assert_eq!(client.verdict(&token("e")).await, Verdict::Unknown);
    let other = ImportKeysRequest { keys: vec![named("f")], ..marked };
    refused(client.import(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    assert_eq!(client.events(imports()).await.len(), 3, "one for each message that brought something");
}

async fn a_message_that_was_imported_is_answered_again_whatever_came_after(authority: Authority) {
    let client = with_account(&authority).await;
    let marked = ImportKeysRequest { request_id: "r-1".into(), ..into("acme", vec![named("a")]) };
    let first = client.import(marked.clone()).await.unwrap();
    client.suspend_account(SuspendAccountRequest { account: "acme".into(), ..Default::default() }).await.unwrap();
    let again = client.import(marked.clone()).await.unwrap();
    assert_eq!((counts(&again), revision(&again)), ((1, 0, 0), revision(&first)));
    let new = ImportKeysRequest { request_id: "r-2".into(), ..marked };
    refused(client.import(new).await, Code::FailedPrecondition, "ACCOUNT_SUSPENDED");
}

async fn what_was_refused_at_first_is_not_told_as_deleted(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy { max_keys: 1, ..KeyPolicy::default() }).await;
    let marked = ImportKeysRequest { request_id: "r-1".into(), ..into("acme", vec![named("a"), named("b")]) };
    let first = client.import(marked.clone()).await.unwrap();
    assert_eq!(reasons(&first), [(1, "", "KEY_LIMIT_REACHED")]);
    let policy = Some(KeyPolicy { max_keys: 2, ..KeyPolicy::default() });
    let raised = Account { id: "acme".into(), policy, ..Account::default() };
    client.update_account(UpdateAccountRequest { account: Some(raised), ..Default::default() }).await.unwrap();
    let again = client.import(marked).await.unwrap();
    assert_eq!((counts(&again), reasons(&again)), ((1, 0, 1), vec![(1, "", "KEY_NOT_FOUND")]));
    assert!(again.errors[0].message.starts_with("was not imported with this message"), "{}", again.errors[0].message);
}

async fn a_message_of_several_parts_can_be_repeated(mut authority: Authority) {
    let client = with_account(&authority).await;
    let mut keys = numbered(1_200);
    client.import(into("acme", keys[500..1_000].to_vec())).await.unwrap();
    keys[7] = ImportedKey::default();
    let marked = ImportKeysRequest { request_id: "r-1".into(), ..into("acme", keys) };
    let first = client.import(marked.clone()).await.unwrap();
    assert_eq!(counts(&first), (699, 500, 1));
    let ids: Vec<_> = client.events(imports()).await.into_iter().map(|event| event.request_id).collect();
    assert!(ids[0].is_empty() && ids[1] == "r-1" && ids[2].starts_with("r-1#3:"), "{ids:?}");

    let delete = async |id: &str| client.delete_key(DeleteKeyRequest { key_id: id.into(), ..Default::default() }).await;
    delete("key-1100").await.unwrap();
    // As it is for a caller that lost the answer.
    for _ in 0..2 {
        let held = authority.database().hold_changes();
        let again = authority.client().import(marked.clone()).await.unwrap();
        drop(held);
        assert_eq!((counts(&again), revision(&again)), ((698, 500, 2), revision(&first)));
        assert_eq!(reasons(&again), [(7, "token", "FIELD_INVALID"), (1_100, "", "KEY_NOT_FOUND")]);
        assert!(authority.stop().await.success());
        authority.restart().await;
    }
    let client = authority.client();
    let other = ImportKeysRequest { keys: vec![named("f")], ..marked.clone() };
    refused(client.import(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    let mut other = marked;
    other.keys[1_150].display_name = "another".into();
    refused(client.import(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    assert_eq!(client.events(imports()).await.len(), 3);
}

on_every_database! {
    an_import_can_be_repeated,
    a_message_that_was_imported_is_answered_again_whatever_came_after,
    what_was_refused_at_first_is_not_told_as_deleted,
    a_message_of_several_parts_can_be_repeated,
}
