//! `CreateKey`, `GetKey`, `UpdateKey`, `DisableKey`, `EnableKey`, `RevokeKey`, `DeleteKey`.

use std::collections::BTreeMap;

use key_authority_proto::v1::*;
use tonic::Code;

use crate::support::client::{all_projects, key_for, mask, only, question};
use crate::support::{Authority, assert_same_set, days, invalid, later, nanos_between, on_every_database, refused};

async fn a_key_is_created_with_every_field(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let labels =
        BTreeMap::from([("team/env".to_owned(), "platform: prod ✓".to_owned()), ("empty".into(), String::new())]);
    let request = CreateKeyRequest {
        account: "acme".into(),
        key_id: "my:key@1".into(),
        display_name: "Deploy ✂".into(),
        description: "line one\n\tline two".into(),
        scopes: vec!["orders.write".into(), "orders.read".into(), "orders.read".into()],
        projects: only(&["p2", "p1", "p1"]),
        labels: labels.clone(),
        allowed_networks: vec!["192.0.2.0/24".into(), "2001:db8::/32".into(), "198.51.100.7".into()],
        expiry: Some(create_key_request::Expiry::Lifetime(days(30).unwrap())),
        disabled: false,
        request_id: "r1".into(),
        digest: None,
        token_hint: String::new(),
    };
    let created = client.create_key(request).await.unwrap();
    let (key, propagation) = (created.key.unwrap(), created.propagation.unwrap());
    assert_eq!((key.id.as_str(), key.account.as_str()), ("my:key@1", "acme"));
    assert_eq!((key.display_name.as_str(), key.description.as_str()), ("Deploy ✂", "line one\n\tline two"));
    assert_eq!(key.state(), KeyState::Active);
    assert_same_set(key.scopes.clone(), ["orders.read".into(), "orders.write".into()]);
    let projects = key.projects.clone().unwrap();
    assert!(!projects.all);
    assert_same_set(projects.only, ["p1".into(), "p2".into()]);
    assert_eq!(key.labels, labels);
    let networks = ["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32"].map(String::from);
    assert_same_set(key.allowed_networks.clone(), networks);
    assert_eq!(nanos_between(key.create_time, key.expire_time), 30 * 86_400_000_000_000);
    assert_eq!(key.update_time, key.create_time);
    assert_eq!((key.last_used_time, key.use_count), (None, 0));
    assert_eq!((key.revoke_time, key.revoke_reason.as_str()), (None, ""));
    assert_eq!(key.created_by, authority.root_id().await);
    assert_eq!(key.token_hint, created.token[.."ka_".len() + 4], "the prefix where the policy names none");
    let [secret] = &key.secrets[..] else { panic!("one secret") };
    assert_eq!((secret.version, &secret.token_hint), (1, &key.token_hint));
    assert_eq!((secret.create_time, secret.retire_time, secret.last_used_time), (key.create_time, None, None));
    assert!(!key.etag.is_empty());
    assert_eq!(client.key("my:key@1").await, key, "as it is read");

    assert_eq!((propagation.state(), propagation.replicas), (PropagationState::Confirmed, 1));
    assert!(propagation.revision > 0 && propagation.waited.is_some());

    let asked = VerifyRequest {
        scopes: vec!["orders.read".into()],
        project: "p1".into(),
        client_ip: "192.0.2.9".into(),
        account: "acme".into(),
        key_id: "my:key@1".into(),
        ..question(&created.token)
    };
    let answer = client.verify(asked).await.unwrap();
    assert_eq!(answer.verdict(), Verdict::Valid);
    assert_eq!((answer.key_id.as_str(), answer.account.as_str()), ("my:key@1", "acme"));
    assert_same_set(answer.scopes, key.scopes);
    assert_eq!((answer.labels, answer.expire_time), (labels, key.expire_time));
    assert!(answer.missing_scopes.is_empty());
    assert!(answer.revision >= propagation.revision);
}

async fn a_key_of_which_nothing_is_said_covers_all_and_never_expires(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let created = client.key_in("acme").await;
    let generated = created.key.id.strip_prefix("key_").expect("a generated ID");
    assert!(generated.len() == 20 && generated.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{generated}");
    assert_eq!(created.key.projects, all_projects());
    assert_eq!((created.key.expire_time, created.key.scopes.len(), created.key.labels.len()), (None, 0, 0));
    assert!(created.token.starts_with("ka_"));
    // False says nothing.
    let never = CreateKeyRequest { expiry: Some(create_key_request::Expiry::NeverExpires(false)), ..key_for("acme") };
    assert_eq!(client.new_key(never).await.key.expire_time, None);
}

async fn a_key_of_a_taken_id_or_of_no_account_is_refused(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    client.new_account("other", KeyPolicy::default()).await;
    let taken = CreateKeyRequest { key_id: "k".into(), ..key_for("acme") };
    client.new_key(taken.clone()).await;
    let (status, _) = refused(client.create_key(taken).await, Code::AlreadyExists, "KEY_EXISTS");
    assert!(status.message().starts_with("the key ID k is in use"), "{}", status.message());
    let elsewhere = CreateKeyRequest { key_id: "k".into(), ..key_for("other") };
    refused(client.create_key(elsewhere).await, Code::AlreadyExists, "KEY_EXISTS");
    // Byte for byte.
    client.new_key(CreateKeyRequest { key_id: "K".into(), ..key_for("acme") }).await;
    refused(client.create_key(key_for("nobody")).await, Code::NotFound, "ACCOUNT_NOT_FOUND");
    refused(client.get_key(GetKeyRequest { key_id: "nothing".into() }).await, Code::NotFound, "KEY_NOT_FOUND");
}

/// Takes a field over from another key.
type Take = fn(&mut Key, &Key);

async fn an_update_changes_what_its_mask_names(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let request = CreateKeyRequest {
        display_name: "name".into(),
        description: "description".into(),
        scopes: vec!["a".into()],
        projects: only(&["p"]),
        labels: BTreeMap::from([("l".into(), "1".into())]),
        allowed_networks: vec!["192.0.2.0/24".into()],
        expiry: Some(create_key_request::Expiry::Lifetime(days(1).unwrap())),
        ..key_for("acme")
    };
    let mut expected = client.new_key(request).await.key;
    let wanted = Key {
        id: expected.id.clone(),
        display_name: "name 2".into(),
        description: "description 2".into(),
        scopes: vec!["b".into()],
        projects: only(&["q"]),
        labels: BTreeMap::from([("l".into(), "2".into())]),
        allowed_networks: vec!["198.51.100.0/24".into()],
        expire_time: later(expected.expire_time, 3600),
        // Not for callers to set.
        account: "other".into(),
        state: KeyState::Revoked.into(),
        created_by: "me".into(),
        use_count: 9,
        ..Key::default()
    };
    let take: [(&str, Take); 7] = [
        ("display_name", |to, from| to.display_name.clone_from(&from.display_name)),
        ("description", |to, from| to.description.clone_from(&from.description)),
        ("scopes", |to, from| to.scopes.clone_from(&from.scopes)),
        ("projects", |to, from| to.projects.clone_from(&from.projects)),
        ("labels", |to, from| to.labels.clone_from(&from.labels)),
        ("allowed_networks", |to, from| to.allowed_networks.clone_from(&from.allowed_networks)),
        ("expire_time", |to, from| to.expire_time = from.expire_time),
    ];
    let update = async |key: &Key, paths: Option<&[&str]>| {
        let request =
            UpdateKeyRequest { key: Some(key.clone()), update_mask: paths.and_then(mask), ..Default::default() };
        client.update_key(request).await.unwrap().key.unwrap()
    };
    for (path, take) in take {
        let updated = update(&wanted, Some(&[path])).await;
        take(&mut expected, &wanted);
        (expected.etag, expected.update_time) = (updated.etag.clone(), updated.update_time);
        assert_eq!(updated, expected, "{path} alone");
    }
    assert_eq!(client.key(&expected.id).await, expected);

    // Named and absent: cleared; with `*`, all seven.
    let bare = Key { id: expected.id.clone(), ..Key::default() };
    update(&wanted, Some(&["*"])).await;
    let cleared = update(&bare, Some(&["*"])).await;
    assert_eq!((cleared.display_name.as_str(), cleared.description.as_str()), ("", ""));
    assert_eq!((cleared.scopes.len(), cleared.labels.len(), cleared.allowed_networks.len()), (0, 0, 0));
    assert_eq!(cleared.projects, all_projects(), "what the policy gives to a key that does not say");
    assert_eq!(cleared.expire_time, None);
    // Without a mask, what is carried is changed and what is not stays.
    let carried = update(&Key { id: expected.id.clone(), description: "carried".into(), ..Key::default() }, None).await;
    let stays = update(&Key { id: expected.id.clone(), display_name: "also".into(), ..Key::default() }, None).await;
    assert_eq!(carried.description, "carried");
    assert_eq!((stays.description.as_str(), stays.display_name.as_str()), ("carried", "also"));
    for path in ["id", "state", "token_hint", "labels.l", "projects.only", "no_such_field", ""] {
        let request = UpdateKeyRequest { key: Some(bare.clone()), update_mask: mask(&[path]), ..Default::default() };
        invalid(client.update_key(request).await, "update_mask");
    }
}

async fn an_update_from_a_stale_etag_is_aborted(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let read = client.key_in("acme").await.key;
    let rename = |name: &str, etag: &str| UpdateKeyRequest {
        key: Some(Key { id: read.id.clone(), display_name: name.into(), ..Key::default() }),
        update_mask: mask(&["display_name"]),
        etag: etag.into(),
        ..Default::default()
    };
    let first = client.update_key(rename("first", &read.etag)).await.unwrap().key.unwrap();
    assert_ne!(first.etag, read.etag);
    refused(client.update_key(rename("second", &read.etag)).await, Code::Aborted, "ETAG_MISMATCH");
    assert_eq!(client.key(&read.id).await.display_name, "first");
    client.update_key(rename("third", &first.etag)).await.unwrap();
    client.update_key(rename("fourth", "")).await.unwrap();
    assert_eq!(client.key(&read.id).await.display_name, "fourth");
}

async fn disabling_enabling_and_revoking_twice_succeeds(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let created = client.key_in("acme").await;
    let key_id = created.id();
    for _ in 0..2 {
        let request = DisableKeyRequest { key_id: key_id.clone(), ..Default::default() };
        assert_eq!(client.disable_key(request).await.unwrap().key.unwrap().state(), KeyState::Disabled);
    }
    for _ in 0..2 {
        let request = EnableKeyRequest { key_id: key_id.clone(), ..Default::default() };
        assert_eq!(client.enable_key(request).await.unwrap().key.unwrap().state(), KeyState::Active);
    }
    let revoke = async |reason: &str| {
        let request = RevokeKeyRequest { key_id: key_id.clone(), reason: reason.into(), ..Default::default() };
        client.revoke_key(request).await.unwrap()
    };
    let first = revoke("first").await.key.unwrap();
    let again = revoke("second").await;
    let key = again.key.unwrap();
    assert_eq!((key.revoke_reason.as_str(), key.revoke_time), ("first", first.revoke_time));
    assert_eq!(again.propagation.unwrap().state(), PropagationState::Confirmed);
    // Revoked is told before disabled.
    let other = client.new_key(CreateKeyRequest { disabled: true, ..key_for("acme") }).await;
    client.revoke(&other.id()).await;
    assert_eq!(client.key(&other.id()).await.state(), KeyState::Revoked);
    assert_eq!(client.verdict(&other.token).await, Verdict::Revoked);
}

async fn a_revoked_key_is_not_changed_but_can_be_deleted(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let created = client.key_in("acme").await;
    client.revoke(&created.id()).await;
    let rename = UpdateKeyRequest {
        key: Some(Key { id: created.id(), display_name: "x".into(), ..Key::default() }),
        update_mask: mask(&["display_name"]),
        ..Default::default()
    };
    refused(client.update_key(rename).await, Code::FailedPrecondition, "KEY_REVOKED");
    let delete = DeleteKeyRequest { key_id: created.id(), ..Default::default() };
    let deleted = client.delete_key(delete.clone()).await.unwrap();
    assert!(deleted.propagation.unwrap().revision > 0);
    assert_eq!(client.verdict(&created.token).await, Verdict::Unknown);
    refused(client.delete_key(delete).await, Code::NotFound, "KEY_NOT_FOUND");
}

async fn a_revoked_key_counts_until_it_is_deleted(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy { max_keys: 1, ..Default::default() }).await;
    let revoked = client.key_in("acme").await;
    client.revoke(&revoked.id()).await;
    refused(client.create_key(key_for("acme")).await, Code::FailedPrecondition, "KEY_LIMIT_REACHED");
    client.delete_key(DeleteKeyRequest { key_id: revoked.id(), ..Default::default() }).await.unwrap();
    client.key_in("acme").await;
}

async fn enabling_beyond_the_limit_of_active_keys_is_refused(authority: Authority) {
    let client = authority.client();
    let counted_states = CountedStates::Active.into();
    client.new_account("acme", KeyPolicy { max_keys: 1, counted_states, ..Default::default() }).await;
    let off = client.new_key(CreateKeyRequest { disabled: true, ..key_for("acme") }).await;
    let on = client.key_in("acme").await;
    let enable = || client.enable_key(EnableKeyRequest { key_id: off.id(), ..Default::default() });
    refused(enable().await, Code::FailedPrecondition, "KEY_LIMIT_REACHED");
    assert_eq!(client.verdict(&off.token).await, Verdict::Disabled);
    client.disable_key(DisableKeyRequest { key_id: on.id(), ..Default::default() }).await.unwrap();
    enable().await.unwrap();
    assert_eq!(client.verdict(&off.token).await, Verdict::Valid);
}

on_every_database! {
    a_key_is_created_with_every_field,
    a_revoked_key_counts_until_it_is_deleted,
    a_key_of_which_nothing_is_said_covers_all_and_never_expires,
    a_key_of_a_taken_id_or_of_no_account_is_refused,
    an_update_changes_what_its_mask_names,
    an_update_from_a_stale_etag_is_aborted,
    disabling_enabling_and_revoking_twice_succeeds,
    a_revoked_key_is_not_changed_but_can_be_deleted,
    enabling_beyond_the_limit_of_active_keys_is_refused,
}
