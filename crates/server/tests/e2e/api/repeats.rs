//! `request_id`: a mutation that is safe to repeat. `AwaitRevision`: a wait that goes on.

use key_authority_proto::v1::*;
use tonic::Code;

use crate::support::client::{key_for, mask};
use crate::support::{Authority, invalid, on_every_database, refused};

const REUSED: &str = "REQUEST_ID_REUSED";

async fn a_repeated_create_is_the_same_key_without_its_token(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let request = CreateKeyRequest { display_name: "a".into(), request_id: "r-1".into(), ..key_for("acme") };
    let first = client.create_key(request.clone()).await.unwrap();
    let again = client.create_key(request.clone()).await.unwrap();
    assert!(!first.token.is_empty() && again.token.is_empty());
    assert_eq!(again.key, first.key);
    let revision = |answer: &CreateKeyResponse| answer.propagation.as_ref().unwrap().revision;
    assert_eq!(revision(&again), revision(&first), "it waits for its revision again");
    assert_eq!(client.keys_of("acme").await.len(), 1);
    assert_eq!(client.verdict(&first.token).await, Verdict::Valid);

    // As it is by then.
    client.revoke(&first.key.as_ref().unwrap().id).await;
    assert_eq!(client.create_key(request.clone()).await.unwrap().key.unwrap().state(), KeyState::Revoked);
    for other in [
        CreateKeyRequest { display_name: "b".into(), ..request.clone() },
        CreateKeyRequest { disabled: true, ..request.clone() },
        CreateKeyRequest { key_id: "chosen".into(), ..request.clone() },
    ] {
        refused(client.create_key(other).await, Code::AlreadyExists, REUSED);
    }
    let key_id = first.key.unwrap().id;
    let other_method = DisableKeyRequest { key_id: key_id.clone(), request_id: "r-1".into() };
    refused(client.disable_key(other_method).await, Code::AlreadyExists, REUSED);
    client.delete_key(DeleteKeyRequest { key_id, ..Default::default() }).await.unwrap();
    refused(client.create_key(request).await, Code::NotFound, "KEY_NOT_FOUND");
}

async fn a_request_id_belongs_to_the_calling_key(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let (_, another) = authority.new_caller(&["keys.write"], None).await;
    let request = CreateKeyRequest { request_id: "shared".into(), ..key_for("acme") };
    let (mine, theirs) = (client.new_key(request.clone()).await, another.new_key(request).await);
    assert_ne!(mine.id(), theirs.id());
    assert!(!mine.token.is_empty() && !theirs.token.is_empty());
    // Without one, each call is a new one.
    assert_ne!(client.key_in("acme").await.id(), client.key_in("acme").await.id());
}

async fn of_concurrent_calls_with_one_request_id_one_has_the_token(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        let request = CreateKeyRequest { request_id: "once".into(), ..key_for("acme") };
        calls.spawn(async move { client.create_key(request).await.unwrap() });
    }
    let answers = calls.join_all().await;
    assert_eq!(answers.iter().filter(|answer| !answer.token.is_empty()).count(), 1);
    let ids: std::collections::BTreeSet<_> =
        answers.iter().map(|answer| answer.key.as_ref().unwrap().id.clone()).collect();
    assert_eq!((ids.len(), client.keys_of("acme").await.len()), (1, 1));
}

async fn every_mutation_can_be_repeated(authority: Authority) {
    let client = authority.client();
    let request_id = |name: &str| name.to_owned();
    let policy = Some(KeyPolicy { holder_may_renew: true, ..KeyPolicy::default() });
    let account = Account { id: "acme".into(), policy, ..Account::default() };
    let create = CreateAccountRequest { account: Some(account.clone()), request_id: request_id("create") };
    let first = client.create_account(create.clone()).await.unwrap();
    assert_eq!(client.create_account(create).await.unwrap().account, first.account);
    let created = client.key_in("acme").await;
    let key_id = created.id();

    // Each twice; the count of revisions tells that the second changed nothing.
    let revision = async || client.get_authority_status(GetAuthorityStatusRequest {}).await.unwrap().revision;
    macro_rules! twice {
        ($method:ident, $request:expr) => {{
            let request = $request;
            let before = revision().await;
            let first = client.$method(request.clone()).await.unwrap();
            let again = client.$method(request).await.unwrap();
            assert_eq!(revision().await, before + 1, stringify!($method));
            let of = |propagation: Option<Propagation>| propagation.unwrap().revision;
            assert_eq!(of(first.propagation), before + 1);
            assert_eq!(of(again.propagation), before + 1, "it waits for its revision again");
        }};
    }
    let update = UpdateKeyRequest {
        key: Some(Key { id: key_id.clone(), display_name: "x".into(), ..Key::default() }),
        update_mask: mask(&["display_name"]),
        // By the second call it has changed, by the first: that is no conflict.
        etag: client.key(&key_id).await.etag,
        request_id: request_id("update"),
    };
    twice!(update_key, update);
    twice!(disable_key, DisableKeyRequest { key_id: key_id.clone(), request_id: request_id("disable") });
    twice!(enable_key, EnableKeyRequest { key_id: key_id.clone(), request_id: request_id("enable") });
    let renew =
        RenewTokenRequest { token: created.token.clone(), request_id: request_id("by-token"), ..Default::default() };
    twice!(renew_token, renew);
    let renew = RenewKeyRequest { key_id: key_id.clone(), request_id: request_id("renew"), ..Default::default() };
    twice!(renew_key, renew);
    let revoke = RevokeKeyRequest { key_id: key_id.clone(), request_id: request_id("revoke"), ..Default::default() };
    twice!(revoke_key, revoke);
    let [other, third] = [client.key_in("acme").await, client.key_in("acme").await];
    let revoke =
        RevokeTokenRequest { token: other.token.clone(), request_id: request_id("token"), ..Default::default() };
    twice!(revoke_token, revoke);
    let account_id = || "acme".to_owned();
    let revoke = RevokeKeysRequest { account: account_id(), request_id: request_id("keys"), ..Default::default() };
    twice!(revoke_keys, revoke);
    for key_id in [other.id(), third.id()] {
        client.delete_key(DeleteKeyRequest { key_id, ..Default::default() }).await.unwrap();
    }
    let rename = UpdateAccountRequest {
        account: Some(Account { display_name: "ACME".into(), ..account }),
        update_mask: mask(&["display_name"]),
        request_id: request_id("rename"),
        ..Default::default()
    };
    twice!(update_account, rename);
    twice!(suspend_account, SuspendAccountRequest { account: account_id(), request_id: request_id("suspend") });
    twice!(resume_account, ResumeAccountRequest { account: account_id(), request_id: request_id("resume") });
    twice!(delete_key, DeleteKeyRequest { key_id, request_id: request_id("delete"), ..Default::default() });
    twice!(delete_account, DeleteAccountRequest { account: account_id(), request_id: request_id("remove") });
}

async fn a_call_that_was_refused_may_be_made_again_under_its_request_id(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy { max_keys: 1, ..Default::default() }).await;
    let first = client.key_in("acme").await;
    let request = CreateKeyRequest { request_id: "later".into(), ..key_for("acme") };
    refused(client.create_key(request.clone()).await, Code::FailedPrecondition, "KEY_LIMIT_REACHED");
    client.delete_key(DeleteKeyRequest { key_id: first.id(), ..Default::default() }).await.unwrap();
    assert!(!client.create_key(request).await.unwrap().token.is_empty(), "a refused call is no change");
}

async fn a_request_id_outlives_a_restart(mut authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let request = CreateKeyRequest { request_id: "r".into(), ..key_for("acme") };
    let first = client.create_key(request.clone()).await.unwrap();
    assert!(authority.stop().await.success());
    authority.restart().await;
    let again = authority.client().create_key(request).await.unwrap();
    assert_eq!((again.token.as_str(), again.key), ("", first.key));
    assert_eq!(authority.client().verdict(&first.token).await, Verdict::Valid, "nor is the token lost");
}

async fn a_revision_can_be_awaited(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let created = client.create_key(key_for("acme")).await.unwrap().propagation.unwrap();
    for revision in [1, created.revision] {
        let awaited = client.await_revision(AwaitRevisionRequest { revision }).await.unwrap().propagation.unwrap();
        assert_eq!((awaited.revision, awaited.replicas), (revision, 1));
        assert_eq!(awaited.state(), PropagationState::Confirmed);
    }
    for revision in [0, created.revision + 1, u64::MAX, 1 << 63] {
        invalid(client.await_revision(AwaitRevisionRequest { revision }).await, "revision");
    }
}

on_every_database! {
    a_repeated_create_is_the_same_key_without_its_token,
    a_request_id_belongs_to_the_calling_key,
    of_concurrent_calls_with_one_request_id_one_has_the_token,
    every_mutation_can_be_repeated,
    a_call_that_was_refused_may_be_made_again_under_its_request_id,
    a_request_id_outlives_a_restart,
    a_revision_can_be_awaited,
}
