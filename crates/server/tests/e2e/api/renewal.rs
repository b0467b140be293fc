//! `RenewKey`, `RevealToken` and the passing of time.

use key_authority_proto::v1::*;
use tonic::Code;

use crate::support::client::{key_for, mask};
use crate::support::{Authority, Client, days, eventually, nanos_between, on_every_database, refused, seconds};

fn renew(key_id: &str) -> RenewKeyRequest {
    RenewKeyRequest { key_id: key_id.into(), ..Default::default() }
}

/// Awaits a verdict that time brings, and fails when another one than `before` comes first.
async fn comes_to(client: &Client, token: &str, before: Verdict, wanted: Verdict) {
    eventually("time passes", async || match client.verdict(token).await {
        verdict if verdict == wanted => Some(()),
        verdict => {
            assert_eq!(verdict, before);
            None
        }
    })
    .await;
}

async fn with_an_overlap_both_tokens_pass_until_it_ends(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let first = client.key_in("acme").await;
    let renewed = client.renew_key(RenewKeyRequest { overlap: seconds(3), ..renew(&first.id()) }).await.unwrap();
    let key = renewed.key.unwrap();
    let [newest, oldest] = &key.secrets[..] else { panic!("two secrets, the newest first: {:?}", key.secrets) };
    assert_eq!((newest.version, newest.retire_time), (2, None));
    assert_eq!(oldest.version, 1);
    assert_eq!(nanos_between(newest.create_time, oldest.retire_time), 3_000_000_000);
    assert_eq!((key.token_hint.clone(), key.etag != first.key.etag), (newest.token_hint.clone(), true));

    let old = client.ask(&first.token).await;
    assert_eq!((old.verdict(), old.expire_time), (Verdict::Valid, oldest.retire_time), "it says when it ends");
    assert_eq!(client.ask(&renewed.token).await.expire_time, None);
    comes_to(&client, &first.token, Verdict::Valid, Verdict::Expired).await;
    assert_eq!(client.verdict(&renewed.token).await, Verdict::Valid);
    assert_eq!(client.key(&first.id()).await.state(), KeyState::Active);
}

async fn a_renewal_without_overlap_ends_every_token_before(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let first = client.key_in("acme").await;
    let hour = RenewKeyRequest { overlap: seconds(3600), ..renew(&first.id()) };
    let second = client.renew_key(hour.clone()).await.unwrap().token;
    let third = client.renew_key(hour).await.unwrap().token;
    for token in [&first.token, &second, &third] {
        assert_eq!(client.verdict(token).await, Verdict::Valid);
    }
    let fourth = client.renew_key(renew(&first.id())).await.unwrap();
    for token in [&first.token, &second, &third] {
        assert_eq!(client.verdict(token).await, Verdict::Expired);
    }
    assert_eq!(client.verdict(&fourth.token).await, Verdict::Valid);
    let versions: Vec<_> = fourth.key.unwrap().secrets.iter().map(|secret| secret.version).collect();
    assert_eq!(versions, [4, 3, 2, 1]);
}

async fn an_overlap_is_as_long_as_the_policy_allows(authority: Authority) {
    let client = authority.client();
    let max_overlap = seconds(60);
    client.new_account("short", KeyPolicy { max_overlap, ..Default::default() }).await;
    client.new_account("unsaid", KeyPolicy::default()).await;
    for (account, most) in [("short", 60), ("unsaid", 30 * 86_400)] {
        let key_id = client.key_in(account).await.id();
        let with = |overlap| RenewKeyRequest { overlap: seconds(overlap), ..renew(&key_id) };
        client.renew_key(with(most)).await.unwrap();
        refused(client.renew_key(with(most + 1)).await, Code::FailedPrecondition, "OVERLAP_NOT_ALLOWED");
        assert_eq!(client.key(&key_id).await.secrets.len(), 2, "the refused one made no secret");
    }
}

async fn a_renewal_keeps_or_sets_the_expiry(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let month = create_key_request::Expiry::Lifetime(days(30).unwrap());
    let created = client.new_key(CreateKeyRequest { expiry: Some(month), ..key_for("acme") }).await;
    let kept = client.renew_key(renew(&created.id())).await.unwrap().key.unwrap();
    assert_eq!(kept.expire_time, created.key.expire_time);

    let day = Some(renew_key_request::Expiry::Lifetime(days(1).unwrap()));
    let shorter = client.renew_key(RenewKeyRequest { expiry: day, ..renew(&created.id()) }).await.unwrap();
    let shorter = shorter.key.unwrap();
    assert_eq!(nanos_between(shorter.secrets[0].create_time, shorter.expire_time), 86_400_000_000_000);
    let end = created.key.expire_time.unwrap();
    let exact = Some(renew_key_request::Expiry::ExpireTime(end));
    let longer = client.renew_key(RenewKeyRequest { expiry: exact, ..renew(&created.id()) }).await.unwrap();
    assert_eq!(longer.key.unwrap().expire_time, Some(end));
    let never = Some(renew_key_request::Expiry::NeverExpires(true));
    let never = client.renew_key(RenewKeyRequest { expiry: never, ..renew(&created.id()) }).await.unwrap();
    assert_eq!(never.key.unwrap().expire_time, None);

    client.disable_key(DisableKeyRequest { key_id: created.id(), ..Default::default() }).await.unwrap();
    let off = client.renew_key(renew(&created.id())).await.unwrap();
    assert_eq!(off.key.unwrap().state(), KeyState::Disabled, "a disabled key stays disabled");
    assert_eq!(client.verdict(&off.token).await, Verdict::Disabled);
}

async fn an_expired_key_comes_back_with_a_new_expiry(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let second = create_key_request::Expiry::Lifetime(seconds(1).unwrap());
    let created = client.new_key(CreateKeyRequest { expiry: Some(second), ..key_for("acme") }).await;
    comes_to(&client, &created.token, Verdict::Valid, Verdict::Expired).await;
    eventually("the database's clock agrees", async || {
        (client.key(&created.id()).await.state() == KeyState::Expired).then_some(())
    })
    .await;
    client.enable_key(EnableKeyRequest { key_id: created.id(), ..Default::default() }).await.unwrap();
    assert_eq!(client.verdict(&created.token).await, Verdict::Expired, "enabling is no new expiry");
    refused(client.renew_key(renew(&created.id())).await, Code::FailedPrecondition, "KEY_EXPIRED");

    let day = Some(renew_key_request::Expiry::Lifetime(days(1).unwrap()));
    let renewed = client.renew_key(RenewKeyRequest { expiry: day, ..renew(&created.id()) }).await.unwrap();
    assert_eq!(client.verdict(&renewed.token).await, Verdict::Valid);
    assert_eq!(client.verdict(&created.token).await, Verdict::Expired, "its old token was replaced");
}

async fn an_expired_key_that_would_be_active_again_needs_room(authority: Authority) {
    let client = authority.client();
    let policy = KeyPolicy { max_keys: 1, counted_states: CountedStates::Active.into(), ..Default::default() };
    client.new_account("acme", policy).await;
    let second = create_key_request::Expiry::Lifetime(seconds(1).unwrap());
    let created = client.new_key(CreateKeyRequest { expiry: Some(second), ..key_for("acme") }).await;
    let other = eventually("the key makes room", async || client.create_key(key_for("acme")).await.ok()).await;

    let day = Some(renew_key_request::Expiry::Lifetime(days(1).unwrap()));
    let again = RenewKeyRequest { expiry: day, ..renew(&created.id()) };
    refused(client.renew_key(again.clone()).await, Code::FailedPrecondition, "KEY_LIMIT_REACHED");
    let update = UpdateKeyRequest {
        key: Some(Key { id: created.id(), ..Key::default() }),
        update_mask: mask(&["expire_time"]),
        ..Default::default()
    };
    refused(client.update_key(update.clone()).await, Code::FailedPrecondition, "KEY_LIMIT_REACHED");
    client.revoke(&other.key.unwrap().id).await;
    client.update_key(update).await.unwrap();
    assert_eq!(client.verdict(&created.token).await, Verdict::Valid, "a new expiry brings its token back");
}

async fn a_token_is_kept_only_if_the_policy_was_so_when_it_was_made(authority: Authority) {
    let client = authority.client();
    let set = async |recoverable| {
        let account = Account {
            id: "acme".into(),
            policy: Some(KeyPolicy { recoverable, ..Default::default() }),
            ..Default::default()
        };
        client.update_account(UpdateAccountRequest { account: Some(account), ..Default::default() }).await.unwrap();
    };
    let reveal = async |key_id: String| client.reveal_token(RevealTokenRequest { key_id }).await;
    client.new_account("acme", KeyPolicy::default()).await;
    let before = client.key_in("acme").await;
    set(true).await;
    refused(reveal(before.id()).await, Code::FailedPrecondition, "NOT_RECOVERABLE");
    let renewed = client.renew_key(renew(&before.id())).await.unwrap().token;
    assert_eq!(reveal(before.id()).await.unwrap().token, renewed);
    set(false).await;
    refused(reveal(before.id()).await, Code::FailedPrecondition, "NOT_RECOVERABLE");
}

on_every_database! {
    with_an_overlap_both_tokens_pass_until_it_ends,
    a_renewal_without_overlap_ends_every_token_before,
    an_overlap_is_as_long_as_the_policy_allows,
    a_renewal_keeps_or_sets_the_expiry,
    an_expired_key_comes_back_with_a_new_expiry,
    an_expired_key_that_would_be_active_again_needs_room,
    a_token_is_kept_only_if_the_policy_was_so_when_it_was_made,
}
