//! An organisation's console: bearer keys, disable and delete.

use key_authority_proto::v1::*;
use tonic::Code;

use super::{account_of, assert_without_token};
use crate::support::client::{PERMISSIONS, key_for, mask};
use crate::support::{Authority, Client, eventually, nanos_between, on_every_database, refused};

async fn console_01_the_key_travels_as_a_bearer_credential(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "console").await;
    let created = client.key_in(&account).await;
    // What the organisation's service gets, and what it hands on.
    let header = http::HeaderValue::try_from(format!("Bearer {}", created.token)).expect("a token fits a header");
    let presented = header.to_str().unwrap().strip_prefix("Bearer ").unwrap();
    for _ in 0..3 {
        assert_eq!(client.verdict(presented).await, Verdict::Valid, "on each request");
    }
    assert_eq!(client.verdict(header.to_str().unwrap()).await, Verdict::Malformed, "the token is asked for alone");
}

async fn console_02_disabling_cuts_access_off_and_enabling_restores_it(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "console").await;
    let (on, off) = (client.key_in(&account).await, client.key_in(&account).await);
    let disabled = client.disable_key(DisableKeyRequest { key_id: off.id(), ..Default::default() }).await.unwrap();
    assert_eq!(disabled.key.unwrap().state(), KeyState::Disabled);
    assert_eq!(client.verdict(&off.token).await, Verdict::Disabled, "at once");
    assert_eq!(client.verdict(&on.token).await, Verdict::Valid);

    let in_state = async |state: KeyState| {
        let request = ListKeysRequest { account: account.clone(), states: vec![state.into()], ..Default::default() };
        let keys = client.list_keys(request).await.unwrap().keys;
        keys.into_iter().map(|key| key.id).collect::<Vec<_>>()
    };
    assert_eq!(in_state(KeyState::Active).await, [on.id()]);
    assert_eq!(in_state(KeyState::Disabled).await, [off.id()]);

    let enabled = client.enable_key(EnableKeyRequest { key_id: off.id(), ..Default::default() }).await.unwrap();
    assert_eq!(enabled.key.unwrap().state(), KeyState::Active);
    assert_eq!(client.verdict(&off.token).await, Verdict::Valid, "at once");
    assert_eq!(in_state(KeyState::Disabled).await, [""; 0]);
}

async fn console_03_the_name_is_edited_in_place(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "console").await;
    let request = CreateKeyRequest {
        display_name: "old".into(),
        description: "stays".into(),
        scopes: vec!["read".into()],
        ..key_for(&account)
    };
    let created = client.new_key(request).await;
    let update = UpdateKeyRequest {
        key: Some(Key { id: created.id(), display_name: "new".into(), ..Default::default() }),
        update_mask: mask(&["display_name"]),
        ..Default::default()
    };
    let renamed = client.update_key(update).await.unwrap().key.unwrap();
    assert!(nanos_between(created.key.update_time, renamed.update_time) >= 0);
    let expected = Key {
        display_name: "new".into(),
        update_time: renamed.update_time,
        etag: renamed.etag.clone(),
        ..created.key.clone()
    };
    assert_eq!(renamed, expected, "the name alone");
    assert_ne!(renamed.etag, created.key.etag);
    assert_eq!(client.verdict(&created.token).await, Verdict::Valid, "the token goes on");
}

/// Awaits that the use of a key is written down.
async fn used(client: &Client, key_id: &str) -> Key {
    eventually("a use is shown", async || Some(client.key(key_id).await).filter(|key| key.last_used_time.is_some()))
        .await
}

async fn console_04_lists_show_what_people_need(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "console").await;
    let request = CreateKeyRequest { display_name: "CI".into(), ..key_for(&account) };
    let created = client.new_key(request).await;
    assert_eq!(client.verdict(&created.token).await, Verdict::Valid);
    let read = used(&client, &created.id()).await;
    let [listed] = &client.keys_of(&account).await[..] else { panic!("one key") };
    assert_eq!(listed.display_name, "CI");
    assert_eq!(listed.state(), KeyState::Active);
    assert_eq!(listed.token_hint, created.token[.."org_key_".len() + 4], "a masked key");
    assert_eq!(listed.last_used_time, read.last_used_time);
    assert_eq!(listed.create_time, created.key.create_time);
    assert!(listed.create_time.is_some());
    assert_without_token(listed, &created.token);
}

async fn console_05_copy_works_where_tokens_are_recoverable(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "console").await;
    let created = client.key_in(&account).await;
    let reveal = RevealTokenRequest { key_id: created.id() };
    assert_eq!(client.reveal_token(reveal.clone()).await.unwrap().token, created.token);

    let renewed = client.renew_key(RenewKeyRequest { key_id: created.id(), ..Default::default() }).await.unwrap();
    assert_eq!(client.reveal_token(reveal.clone()).await.unwrap().token, renewed.token, "the newest");

    let others: Vec<_> = PERMISSIONS.into_iter().filter(|&permission| permission != "tokens.reveal").collect();
    let (_, without) = authority.new_caller(&others, None).await;
    refused(without.reveal_token(reveal.clone()).await, Code::PermissionDenied, "PERMISSION_MISSING");
    let (copier, with) = authority.new_caller(&["tokens.reveal"], None).await;
    assert_eq!(with.reveal_token(reveal.clone()).await.unwrap().token, renewed.token);

    let shown = ListAuditEventsRequest { actions: vec![Action::RevealToken.into()], ..Default::default() };
    let events = client.events(shown).await;
    let told: Vec<_> = events.iter().map(|event| (event.actor.clone(), event.key_id.clone())).collect();
    let root = authority.root_id().await;
    assert_eq!(told, [(root.clone(), created.id()), (root, created.id()), (copier.id(), created.id())]);
    for event in &events {
        assert_without_token(event, &renewed.token);
    }

    client.new_account("elsewhere", KeyPolicy::default()).await;
    let kept_nowhere = RevealTokenRequest { key_id: client.key_in("elsewhere").await.id() };
    refused(client.reveal_token(kept_nowhere).await, Code::FailedPrecondition, "NOT_RECOVERABLE");
}

async fn console_06_last_used_is_when_the_key_last_passed_verify(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "console").await;
    let (created, marker) = (client.key_in(&account).await, client.key_in(&account).await);
    assert_eq!(created.key.last_used_time, None);
    // The database's clock, before and after.
    let tick = async || {
        let update = UpdateKeyRequest { key: Some(marker.key.clone()), ..Default::default() };
        client.update_key(update).await.unwrap().key.unwrap().update_time
    };
    let before = tick().await;
    assert_eq!(client.verdict(&created.token).await, Verdict::Valid);
    let after = tick().await;
    let first = used(&client, &created.id()).await;
    let tolerance = 2_000_000_000;
    assert!(nanos_between(before, first.last_used_time) > -tolerance, "{before:?} {first:?}");
    assert!(nanos_between(first.last_used_time, after) > -tolerance, "{after:?} {first:?}");
    assert_eq!(first.use_count, 1);
    assert_eq!(first.secrets[0].last_used_time, first.last_used_time);
    assert_eq!(
        (first.etag, first.update_time),
        (created.key.etag.clone(), created.key.update_time),
        "use is no change"
    );

    // What does not pass is no use.
    client.disable_key(DisableKeyRequest { key_id: created.id(), ..Default::default() }).await.unwrap();
    assert_eq!(client.verdict(&created.token).await, Verdict::Disabled);
    assert_eq!(client.verdict(&marker.token).await, Verdict::Valid);
    used(&client, &marker.id()).await;
    assert_eq!(client.key(&created.id()).await.use_count, 1);
}

async fn console_07_deleting_a_key_in_use_needs_insistence(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "console").await;
    let (busy, idle) = (client.key_in(&account).await, client.key_in(&account).await);
    assert_eq!(client.verdict(&busy.token).await, Verdict::Valid);
    // At once: a use that is not written down yet counts as well.
    let gently = DeleteKeyRequest { key_id: busy.id(), ..Default::default() };
    refused(client.delete_key(gently.clone()).await, Code::FailedPrecondition, "KEY_RECENTLY_USED");
    let last_used = used(&client, &busy.id()).await.last_used_time.unwrap();

    let (status, details) =
        refused(client.delete_key(gently.clone()).await, Code::FailedPrecondition, "KEY_RECENTLY_USED");
    let told = &details.error_info().unwrap().metadata["last_used_time"];
    let told: prost_types::Timestamp = told.parse().expect("RFC 3339");
    assert_eq!(told.seconds, last_used.seconds, "the warning says when: {}", status.message());
    assert_eq!(client.verdict(&busy.token).await, Verdict::Valid, "nothing was deleted");

    client.delete_key(DeleteKeyRequest { allow_recently_used: true, ..gently }).await.unwrap();
    assert_eq!(client.verdict(&busy.token).await, Verdict::Unknown);
    refused(client.get_key(GetKeyRequest { key_id: busy.id() }).await, Code::NotFound, "KEY_NOT_FOUND");

    client.delete_key(DeleteKeyRequest { key_id: idle.id(), ..Default::default() }).await.unwrap();
    assert_eq!(client.verdict(&idle.token).await, Verdict::Unknown, "for good");
    assert_eq!(client.keys_of(&account).await, []);
}

on_every_database! {
    console_01_the_key_travels_as_a_bearer_credential,
    console_02_disabling_cuts_access_off_and_enabling_restores_it,
    console_03_the_name_is_edited_in_place,
    console_04_lists_show_what_people_need,
    console_05_copy_works_where_tokens_are_recoverable,
    console_06_last_used_is_when_the_key_last_passed_verify,
    console_07_deleting_a_key_in_use_needs_insistence,
}
