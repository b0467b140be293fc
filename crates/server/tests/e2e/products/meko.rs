//! Meko: long-lived personal tokens for MCP clients.

use key_authority_proto::v1::*;
use tonic::Code;

use super::{account_of, another_account_of, assert_shown_nowhere};
use crate::support::client::{key_for, mask, only};
use crate::support::{Authority, days, later, nanos_between, on_every_database, refused};

const DAY_NANOS: i128 = 86_400_000_000_000;

async fn meko_01_a_key_has_a_name_that_is_only_a_label(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "meko").await;
    let named = CreateKeyRequest { display_name: "laptop/claude-desktop".into(), ..key_for(&account) };
    let first = client.new_key(named.clone()).await;
    let second = client.new_key(named).await;
    assert_eq!(first.key.display_name, "laptop/claude-desktop");
    assert_eq!(second.key.display_name, "laptop/claude-desktop", "a label need not be unique");
    assert_ne!(first.id(), second.id());
    assert_eq!(client.verdict(&first.token).await, Verdict::Valid);
    assert_eq!(client.verdict(&second.token).await, Verdict::Valid);
}

async fn meko_02_the_token_is_in_the_answer_to_create_and_nowhere_else(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "meko").await;
    let request = CreateKeyRequest { request_id: "first".into(), ..key_for(&account) };
    let created = client.new_key(request.clone()).await;
    assert!(created.token.starts_with("mko_tkn_"), "the prefix of the policy");
    assert_eq!(created.token.len(), "mko_tkn_".len() + 46);
    assert_shown_nowhere(&client, &created.key, &created.token).await;

    let repeated = client.create_key(request).await.unwrap();
    assert_eq!(repeated.key.unwrap().id, created.id(), "the same call again is the same key");
    assert_eq!(repeated.token, "", "and its token is not shown again");
    let reveal = client.reveal_token(RevealTokenRequest { key_id: created.id() }).await;
    refused(reveal, Code::FailedPrecondition, "NOT_RECOVERABLE");
}

async fn meko_03_lists_show_name_and_prefix(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "meko").await;
    let mut tokens = Vec::new();
    for name in ["laptop/claude-desktop", "phone"] {
        let request = CreateKeyRequest { display_name: name.into(), ..key_for(&account) };
        tokens.insert(0, client.new_key(request).await.token);
    }
    let listed = client.keys_of(&account).await;
    let shown: Vec<_> = listed.iter().map(|key| (key.display_name.as_str(), key.token_hint.as_str())).collect();
    let hint = |token: &str| token[.."mko_tkn_".len() + 4].to_owned();
    assert_eq!(shown, [("phone", hint(&tokens[0]).as_str()), ("laptop/claude-desktop", hint(&tokens[1]).as_str())]);
}

async fn meko_04_eleventh_active_key_is_refused(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "meko").await;
    let mut keys = Vec::new();
    for _ in 0..10 {
        keys.push(client.key_in(&account).await);
    }
    let (status, _) =
        refused(client.create_key(key_for(&account)).await, Code::FailedPrecondition, "KEY_LIMIT_REACHED");
    assert!(status.message().contains("10 active"), "the reason says so: {}", status.message());
    assert_eq!(client.keys_of(&account).await.len(), 10);

    client.revoke(&keys[3].id()).await;
    client.key_in(&account).await;
    refused(client.create_key(key_for(&account)).await, Code::FailedPrecondition, "KEY_LIMIT_REACHED");
}

async fn meko_04_of_fifty_callers_at_once_ten_get_a_key(authority: Authority) {
    let client = authority.client();
    another_account_of(&client, "meko", "crowded").await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        calls.spawn(async move { client.create_key(key_for("crowded")).await });
    }
    let (granted, denied): (Vec<_>, Vec<_>) = calls.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((granted.len(), denied.len()), (10, 40));
    for refusal in denied {
        refused(refusal, Code::FailedPrecondition, "KEY_LIMIT_REACHED");
    }
    assert_eq!(client.keys_of("crowded").await.len(), 10);
}

async fn meko_05_every_key_expires_365_days_after_creation(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "meko").await;
    let with = |expiry| CreateKeyRequest { expiry: Some(expiry), ..key_for(&account) };
    let chosen = client.new_key(with(create_key_request::Expiry::Lifetime(days(365).unwrap()))).await;
    for created in [client.key_in(&account).await, chosen] {
        assert_eq!(nanos_between(created.key.create_time, created.key.expire_time), 365 * DAY_NANOS);
        assert_eq!(client.ask(&created.token).await.expire_time, created.key.expire_time);
    }

    let key = client.key_in(&account).await.key;
    for other in [
        create_key_request::Expiry::Lifetime(days(364).unwrap()),
        create_key_request::Expiry::Lifetime(days(366).unwrap()),
        create_key_request::Expiry::ExpireTime(later(key.create_time, 30 * 86_400).unwrap()),
        create_key_request::Expiry::NeverExpires(true),
    ] {
        let shown = format!("{other:?}");
        let (status, _) =
            refused(client.create_key(with(other)).await, Code::FailedPrecondition, "LIFETIME_NOT_ALLOWED");
        assert!(!status.message().is_empty(), "{shown}");
    }
    let renew = RenewKeyRequest {
        key_id: key.id.clone(),
        expiry: Some(renew_key_request::Expiry::NeverExpires(true)),
        ..Default::default()
    };
    refused(client.renew_key(renew).await, Code::FailedPrecondition, "LIFETIME_NOT_ALLOWED");
    for expire_time in [None, later(key.expire_time, 86_400)] {
        let update = UpdateKeyRequest {
            key: Some(Key { id: key.id.clone(), expire_time, ..Default::default() }),
            update_mask: mask(&["expire_time"]),
            ..Default::default()
        };
        refused(client.update_key(update).await, Code::FailedPrecondition, "LIFETIME_NOT_ALLOWED");
    }
    assert_eq!(client.key(&key.id).await.expire_time, key.expire_time, "nothing was changed");
}

async fn meko_06_a_key_covers_the_whole_account(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "meko").await;
    let created = client.key_in(&account).await;
    assert_eq!(created.key.projects, Some(ProjectAccess { all: true, only: vec![] }));
    for project in ["", "p1", "any other / project"] {
        assert_eq!(client.verdict_in(&created.token, project).await, Verdict::Valid, "{project:?}");
    }
    let narrow = CreateKeyRequest { projects: only(&["p1"]), ..key_for(&account) };
    refused(client.create_key(narrow).await, Code::FailedPrecondition, "PROJECTS_NOT_ALLOWED");
}

async fn meko_07_revoking_is_immediate_and_permanent(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "meko").await;
    let created = client.key_in(&account).await;
    assert_eq!(client.verdict(&created.token).await, Verdict::Valid);
    let key_id = created.id();
    let revoke = RevokeKeyRequest { key_id: key_id.clone(), reason: "laptop lost".into(), ..Default::default() };
    let revoked = client.revoke_key(revoke).await.unwrap();
    assert_eq!(client.verdict(&created.token).await, Verdict::Revoked, "the next Verify says so");
    assert_eq!(revoked.key.unwrap().state(), KeyState::Revoked);

    let enable = client.enable_key(EnableKeyRequest { key_id: key_id.clone(), ..Default::default() }).await;
    refused(enable, Code::FailedPrecondition, "KEY_REVOKED");
    let disable = client.disable_key(DisableKeyRequest { key_id: key_id.clone(), ..Default::default() }).await;
    refused(disable, Code::FailedPrecondition, "KEY_REVOKED");
    let renew = client.renew_key(RenewKeyRequest { key_id: key_id.clone(), ..Default::default() }).await;
    refused(renew, Code::FailedPrecondition, "KEY_REVOKED");
    assert_eq!(client.verdict(&created.token).await, Verdict::Revoked);

    let [listed] = &client.keys_of(&account).await[..] else { panic!("it stays in the list") };
    assert_eq!((listed.state(), listed.revoke_reason.as_str()), (KeyState::Revoked, "laptop lost"));
    assert!(listed.revoke_time.is_some());
}

async fn meko_08_rotating_before_expiry_both_keys_work_in_between(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "meko").await;
    let first = client.key_in(&account).await;
    let second = client.key_in(&account).await;
    assert_eq!(client.verdict(&first.token).await, Verdict::Valid);
    assert_eq!(client.verdict(&second.token).await, Verdict::Valid);
    client.revoke(&first.id()).await;
    assert_eq!(client.verdict(&first.token).await, Verdict::Revoked);
    assert_eq!(client.verdict(&second.token).await, Verdict::Valid);
}

on_every_database! {
    meko_01_a_key_has_a_name_that_is_only_a_label,
    meko_02_the_token_is_in_the_answer_to_create_and_nowhere_else,
    meko_03_lists_show_name_and_prefix,
    meko_04_eleventh_active_key_is_refused,
    meko_04_of_fifty_callers_at_once_ten_get_a_key,
    meko_05_every_key_expires_365_days_after_creation,
    meko_06_a_key_covers_the_whole_account,
    meko_07_revoking_is_immediate_and_permanent,
    meko_08_rotating_before_expiry_both_keys_work_in_between,
}
