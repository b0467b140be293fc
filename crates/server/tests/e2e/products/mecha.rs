//! Mecha: a key ID and a key secret, for a CLI and a REST API.

use key_authority_proto::v1::*;
use tonic::Code;

use super::{account_of, assert_shown_nowhere};
use crate::support::client::{key_for, question};
use crate::support::{Authority, Client, NewKey, days, invalid, later, nanos_between, on_every_database, refused};

const DAY_NANOS: i128 = 86_400_000_000_000;

fn named(account: &str, name: &str) -> CreateKeyRequest {
    CreateKeyRequest { display_name: name.into(), ..key_for(account) }
}

async fn key_of(client: &Client, account: &str) -> NewKey {
    client.new_key(named(account, "ci")).await
}

async fn mecha_01_the_name_must_start_with_a_letter(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "mecha").await;
    for name in ["1ci", "_ci", "-ci", " ci", "/ci", ""] {
        let rule = invalid(client.create_key(named(&account, name)).await, "display_name");
        assert!(rule.contains(r"^\p{L}"), "{name:?}: the rule is named: {rule}");
    }
    for name in ["ci", "C1 / prod", "Änne"] {
        assert_eq!(client.new_key(named(&account, name)).await.key.display_name, name);
    }
    let key = key_of(&client, &account).await.key;
    let rename = UpdateKeyRequest { key: Some(Key { display_name: "1ci".into(), ..key }), ..Default::default() };
    invalid(client.update_key(rename).await, "key.display_name");
}

async fn mecha_02_lifetimes_are_those_of_the_policy_or_none(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "mecha").await;
    let with = |expiry| CreateKeyRequest { expiry: Some(expiry), ..named(&account, "ci") };
    for allowed in [7, 30, 90, 180, 365] {
        let lifetime = create_key_request::Expiry::Lifetime(days(allowed).unwrap());
        let key = client.new_key(with(lifetime)).await.key;
        assert_eq!(nanos_between(key.create_time, key.expire_time), i128::from(allowed) * DAY_NANOS);
    }
    let never = client.new_key(with(create_key_request::Expiry::NeverExpires(true))).await.key;
    assert_eq!(never.expire_time, None);
    for other in [
        create_key_request::Expiry::Lifetime(days(1).unwrap()),
        create_key_request::Expiry::Lifetime(days(31).unwrap()),
        create_key_request::Expiry::Lifetime(days(366).unwrap()),
        create_key_request::Expiry::ExpireTime(later(never.create_time, 30 * 86_400 + 3600).unwrap()),
    ] {
        refused(client.create_key(with(other)).await, Code::FailedPrecondition, "LIFETIME_NOT_ALLOWED");
    }
}

async fn mecha_03_a_description_goes_with_the_key_and_comes_back_in_lists(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "mecha").await;
    let description = "Deploys the site.\n\tAsk the platform team before you touch it. ✂";
    let request = CreateKeyRequest { description: description.into(), ..named(&account, "deploy") };
    assert_eq!(client.new_key(request).await.key.description, description);
    let listed = client.keys_of(&account).await;
    assert_eq!(listed.iter().map(|key| key.description.as_str()).collect::<Vec<_>>(), [description]);
}

async fn mecha_04_creation_answers_an_id_and_a_secret_that_is_never_seen_again(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "mecha").await;
    let created = key_of(&client, &account).await;
    assert!(!created.id().is_empty() && created.token.starts_with("mecha_"));
    assert!(!created.token.contains(&created.id()), "the ID is no part of the secret");
    assert_shown_nowhere(&client, &created.key, &created.token).await;
    let reveal = client.reveal_token(RevealTokenRequest { key_id: created.id() }).await;
    refused(reveal, Code::FailedPrecondition, "NOT_RECOVERABLE");
}

async fn mecha_05_verify_takes_the_pair(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "mecha").await;
    let (mine, other) = (key_of(&client, &account).await, key_of(&client, &account).await);
    let ask = async |secret: &str, key_id: &str| {
        client.verify(VerifyRequest { key_id: key_id.into(), ..question(secret) }).await.unwrap()
    };
    assert_eq!(ask(&mine.token, &mine.id()).await.verdict(), Verdict::Valid);
    for wrong in [other.id(), "no-such-key".into(), "not an ID at all".into(), mine.id().to_uppercase()] {
        let answer = ask(&mine.token, &wrong).await;
        assert_eq!(answer.verdict(), Verdict::Unknown, "{wrong:?}");
        assert_eq!((answer.key_id.as_str(), answer.account.as_str()), ("", ""), "nothing is told of either key");
    }
}

async fn mecha_06_up_to_ten_keys_in_all_states(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "mecha").await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(key_of(&client, &account).await.id());
    }
    client.revoke(&ids[0]).await;
    client.disable_key(DisableKeyRequest { key_id: ids[1].clone(), ..Default::default() }).await.unwrap();
    let eleventh = async || client.create_key(named(&account, "ci")).await;
    refused(eleventh().await, Code::FailedPrecondition, "KEY_LIMIT_REACHED");
    client.delete_key(DeleteKeyRequest { key_id: ids[0].clone(), ..Default::default() }).await.unwrap();
    eleventh().await.unwrap();
    refused(eleventh().await, Code::FailedPrecondition, "KEY_LIMIT_REACHED");
}

async fn mecha_07_keys_appear_in_the_list_at_once(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "mecha").await;
    for count in 1..=10 {
        let created = key_of(&client, &account).await;
        let listed = client.keys_of(&account).await;
        assert_eq!(listed.len(), count);
        assert_eq!(listed[0], created.key, "the newest first, as the answer to create had it");
    }
}

on_every_database! {
    mecha_01_the_name_must_start_with_a_letter,
    mecha_02_lifetimes_are_those_of_the_policy_or_none,
    mecha_03_a_description_goes_with_the_key_and_comes_back_in_lists,
    mecha_04_creation_answers_an_id_and_a_secret_that_is_never_seen_again,
    mecha_05_verify_takes_the_pair,
    mecha_06_up_to_ten_keys_in_all_states,
    mecha_07_keys_appear_in_the_list_at_once,
}
