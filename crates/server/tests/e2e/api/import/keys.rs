//! What becomes of each key: its token, its rules, and the errors of the others.

use key_authority_proto::v1::imported_key::Expiry;
use key_authority_proto::v1::*;
use tonic::Code;

use super::{blake3, counts, imports, into, key, named, reasons, revision, sha256, token, whole, with_account};
use crate::support::client::key_for;
use crate::support::{Authority, Database, Setup, days, on_every_database, refused};

async fn whatever_is_imported_of_a_token_its_holder_goes_on(mut authority: Authority) {
    let client = with_account(&authority).await;
    assert_eq!(client.verdict(&token("a")).await, Verdict::Malformed, "nothing foreign is here");
    // Tokens of another authority are of our own shape.
    let [ours, another] = issued_elsewhere().await;
    let cases = [
        ("whole", whole(&token("longer")), token("longer"), "sk-l…"),
        ("short", whole(&token("a")), token("a"), ""),
        ("blake3", blake3(&token("b")), token("b"), "hint"),
        ("sha256", sha256("tiny"), "tiny".to_owned(), "hint"),
        ("ours", whole(&ours), ours.clone(), &ours[.."ka_".len() + 4]),
        ("ours-by-digest", sha256(&another), another.clone(), "hint"),
    ];
    for (id, secret, token, hint) in &cases {
        let token_hint = if *hint == "hint" { (*hint).to_owned() } else { String::new() };
        let imported =
            ImportedKey { key_id: (*id).into(), scopes: vec!["read".into()], token_hint, ..key(secret.clone()) };
        let answer = client.import(into("acme", vec![imported])).await.unwrap();
        assert_eq!(counts(&answer), (1, 0, 0), "{id}: {:?}", answer.errors);
        let said = client.ask(token).await;
        assert_eq!((said.verdict(), said.key_id.as_str(), said.scopes), (Verdict::Valid, *id, vec!["read".to_owned()]));
        assert!(said.revision >= revision(&answer));
        assert_eq!(client.key(id).await.token_hint, *hint, "{id}");
    }
    assert_eq!(client.verdict(&token("nobody")).await, Verdict::Unknown, "the format of a token does not decide");
    for no_token in ["", "a b", "tab\t", &"x".repeat(513)] {
        assert_eq!(client.verdict(no_token).await, Verdict::Malformed, "{no_token:?}");
    }

    assert!(authority.stop().await.success());
    authority.restart().await;
    let client = authority.client();
    for (id, _, token, _) in &cases {
        assert_eq!(client.ask(token).await.key_id, *id, "after a restart");
    }
    client.revoke("sha256").await;
    assert_eq!(client.verdict("tiny").await, Verdict::Revoked);
    authority.subcommand(&["audit", "verify"], &[]).await.well();
}

/// Tokens that another authority has issued.
async fn issued_elsewhere() -> [String; 2] {
    let other = Setup::on(Database::Sqlite).start().await;
    let client = with_account(&other).await;
    [client.key_in("acme").await.token, client.key_in("acme").await.token]
}

async fn an_imported_key_lives_as_any_other(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy { recoverable: true, ..KeyPolicy::default() }).await;
    let answer = client.import(into(
        "acme",
        vec![named("whole"), ImportedKey { key_id: "digest".into(), ..key(sha256(&token("d"))) }],
    ));
    assert_eq!(counts(&answer.await.unwrap()), (2, 0, 0));
    let reveal = async |id: &str| client.reveal_token(RevealTokenRequest { key_id: id.into() }).await;
    assert_eq!(reveal("whole").await.unwrap().token, token("whole"));
    refused(reveal("digest").await, Code::FailedPrecondition, "NOT_RECOVERABLE");

    client.disable_key(DisableKeyRequest { key_id: "digest".into(), ..Default::default() }).await.unwrap();
    assert_eq!(client.verdict(&token("d")).await, Verdict::Disabled);
    client.enable_key(EnableKeyRequest { key_id: "digest".into(), ..Default::default() }).await.unwrap();
    let renewed = client.renew_key(RenewKeyRequest { key_id: "digest".into(), ..Default::default() }).await.unwrap();
    assert!(renewed.token.starts_with("ka_"), "a token of our own");
    assert_eq!(client.verdict(&token("d")).await, Verdict::Expired);
    assert_eq!(client.verdict(&renewed.token).await, Verdict::Valid);
    for id in ["whole", "digest"] {
        client.delete_key(DeleteKeyRequest { key_id: id.into(), ..Default::default() }).await.unwrap();
    }
    for token in [token("whole"), token("d")] {
        assert_eq!(client.verdict(&token).await, Verdict::Malformed, "nothing foreign is here any more");
    }
}

async fn what_is_wrong_with_a_key_is_told_and_the_others_are_imported(authority: Authority) {
    let client = with_account(&authority).await;
    client.new_account("other", KeyPolicy::default()).await;
    client.new_key(CreateKeyRequest { key_id: "taken".into(), ..key_for("other") }).await;
    client.import(into("other", vec![named("theirs")])).await.unwrap();
    let keys = vec![
        named("good"),
        ImportedKey { display_name: "a\0".into(), scopes: vec!["two words".into()], ..named("bad") },
        key(whole("short")),
        ImportedKey { key_id: "taken".into(), ..named("x") },
        ImportedKey { key_id: "mine".into(), ..named("theirs") },
        ImportedKey { key_id: "again".into(), ..named("good") },
        ImportedKey { key_id: "good".into(), ..named("y") },
        ImportedKey { expiry: Some(Expiry::ExpireTime(prost_types::Timestamp::default())), ..named("over") },
        named("fine"),
    ];
    let answer = client.import(into("acme", keys)).await.unwrap();
    assert_eq!(counts(&answer), (2, 0, 7));
    let expected = [
        (1, "display_name", "FIELD_INVALID"),
        (2, "token", "FIELD_INVALID"),
        (3, "", "KEY_EXISTS"),
        (4, "", "TOKEN_EXISTS"),
        (5, "", "TOKEN_EXISTS"),
        (6, "", "KEY_EXISTS"),
        (7, "expire_time", "FIELD_INVALID"),
    ];
    assert_eq!(reasons(&answer), expected);
    assert!(answer.errors[0].message.contains("scopes[0] must"), "{}", answer.errors[0].message);
    assert!(!format!("{answer:?}").contains("sk-live"), "no response has a secret");
    assert_eq!(client.keys_of("acme").await.len(), 2);

    let [event] = &client.events(imports()).await[1..] else { panic!("one event a message") };
    assert_eq!((event.account.as_str(), event.key_id.as_str(), event.revision), ("acme", "", revision(&answer)));
    let fields = &event.after.as_ref().unwrap().fields;
    assert_eq!(fields["key_count"].kind, Some(prost_types::value::Kind::NumberValue(2.0)));
    assert!(fields.contains_key("keys_hash") && event.before.is_none());
}

async fn the_policy_holds_for_every_key(authority: Authority) {
    let client = authority.client();
    let policy = KeyPolicy {
        max_keys: 3,
        lifetimes: vec![days(30).unwrap()],
        display_name_pattern: "^[a-z]".into(),
        project_rule: ProjectRule::Chosen.into(),
        ..KeyPolicy::default()
    };
    client.new_account("acme", policy).await;
    client.new_key(CreateKeyRequest { display_name: "first".into(), ..key_for("acme") }).await;
    let good = |id: &str| ImportedKey { display_name: id.into(), ..named(id) };
    let keys = vec![
        ImportedKey { display_name: "1".into(), ..named("pattern") },
        ImportedKey { expiry: Some(Expiry::NeverExpires(true)), ..good("lifetime") },
        ImportedKey { projects: Some(ProjectAccess { all: true, only: vec![] }), ..good("projects") },
        good("a"),
        ImportedKey { expiry: Some(Expiry::Lifetime(days(30).unwrap())), ..good("b") },
        good("c"),
    ];
    let answer = client.import(into("acme", keys)).await.unwrap();
    let expected = [
        (0, "display_name", "FIELD_INVALID"),
        (1, "", "LIFETIME_NOT_ALLOWED"),
        (2, "", "PROJECTS_NOT_ALLOWED"),
        (5, "", "KEY_LIMIT_REACHED"),
    ];
    assert_eq!((counts(&answer), reasons(&answer)), ((2, 0, 4), expected.to_vec()));
}

on_every_database! {
    whatever_is_imported_of_a_token_its_holder_goes_on,
    an_imported_key_lives_as_any_other,
    what_is_wrong_with_a_key_is_told_and_the_others_are_imported,
    the_policy_holds_for_every_key,
}
