//! `ImportKeys`: keys of another system, and the tokens that their holders have.

use key_authority_proto::v1::imported_key::{Expiry, Secret};
use key_authority_proto::v1::*;
use tonic::Code;

use crate::support::client::key_for;
use crate::support::{
    Authority, Client, Database, Setup, days, in_time, invalid, on_database_servers, on_every_database, refused,
};

/// A token such as other systems issue.
fn token(name: &str) -> String {
    format!("sk-live/{name}+0123456789==")
}

fn sha256(token: &str) -> Secret {
    use sha2::Digest as _;
    Secret::Sha256(sha2::Sha256::digest(token).to_vec())
}

fn blake3(token: &str) -> Secret {
    Secret::Blake3(blake3::hash(token.as_bytes()).as_bytes().to_vec())
}

fn whole(token: &str) -> Secret {
    Secret::Token(token.to_owned())
}

fn key(secret: Secret) -> ImportedKey {
    ImportedKey { secret: Some(secret), ..ImportedKey::default() }
}

fn named(id: &str) -> ImportedKey {
    ImportedKey { key_id: id.into(), ..key(whole(&token(id))) }
}

fn into(account: &str, keys: Vec<ImportedKey>) -> ImportKeysRequest {
    ImportKeysRequest { account: account.into(), keys, ..ImportKeysRequest::default() }
}

fn counts(answer: &ImportKeysResponse) -> (u32, u32, usize) {
    (answer.imported, answer.existing, answer.errors.len())
}

fn reasons(answer: &ImportKeysResponse) -> Vec<(u32, &str, &str)> {
    answer.errors.iter().map(|error| (error.index, error.field.as_str(), error.reason.as_str())).collect()
}

fn revision(answer: &ImportKeysResponse) -> u64 {
    answer.propagation.as_ref().expect("a change is everywhere when its answer comes").revision
}

async fn with_account(authority: &Authority) -> Client {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    client
}

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
    assert_eq!(client.verdict(&token("nobody")).await, Verdict::Unknown, "a shape tells nothing any more");
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
    assert!(!format!("{answer:?}").contains("sk-live"), "no secret is told");
    assert_eq!(client.keys_of("acme").await.len(), 2);

    let [event] = &client.events(imports()).await[1..] else { panic!("one event a message") };
    assert_eq!((event.account.as_str(), event.key_id.as_str(), event.revision), ("acme", "", revision(&answer)));
    let fields = &event.after.as_ref().unwrap().fields;
    assert_eq!(fields["key_count"].kind, Some(prost_types::value::Kind::NumberValue(2.0)));
    assert!(fields.contains_key("keys_hash") && event.before.is_none());
}

fn imports() -> ListAuditEventsRequest {
    ListAuditEventsRequest { actions: vec![Action::ImportKeys.into()], ..Default::default() }
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

async fn an_import_can_be_repeated(mut authority: Authority) {
    let client = with_account(&authority).await;
    let message = into("acme", vec![named("a"), named("b"), ImportedKey::default()]);
    let first = client.import(message.clone()).await.unwrap();
    assert_eq!(counts(&first), (2, 0, 1));
    let again = client.import(message.clone()).await.unwrap();
    assert_eq!((counts(&again), revision(&again)), ((0, 2, 1), revision(&first)), "it is everywhere");
    // Whatever the file looks like by now.
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

async fn ten_thousand_keys_are_short_changes(authority: Authority) {
    let client = with_account(&authority).await;
    let keys: Vec<_> = (0..10_000).map(|n| key(sha256(&token(&n.to_string())))).collect();
    let answer = in_time("the import", client.import(into("acme", keys))).await.unwrap();
    assert_eq!(counts(&answer), (10_000, 0, 0));
    for n in [0, 4_999, 9_999] {
        assert_eq!(client.verdict(&token(&n.to_string())).await, Verdict::Valid);
    }
    let status = client.get_authority_status(GetAuthorityStatusRequest {}).await.unwrap();
    assert_eq!((status.resident_keys, status.revision), (10_001, revision(&answer)));
    let events = client.events(imports()).await;
    assert_eq!((events.len(), events[19].revision), (20, revision(&answer)), "other changes wait for 500 keys at most");
    for event in events {
        let count = event.after.unwrap().fields["key_count"].kind.clone();
        assert_eq!(count, Some(prost_types::value::Kind::NumberValue(500.0)));
    }
}

/// So many keys, named by their number.
fn numbered(count: usize) -> Vec<ImportedKey> {
    (0..count).map(|number| named(&format!("key-{number}"))).collect()
}

async fn limits_and_duplicates_hold_across_the_parts_of_a_message(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy { max_keys: 700, ..KeyPolicy::default() }).await;
    let mut keys = numbered(1_200);
    keys[550] = ImportedKey { key_id: String::new(), ..keys[3].clone() };
    keys[560].key_id = "key-4".into();
    let answer = client.import(into("acme", keys)).await.unwrap();
    assert_eq!(counts(&answer), (700, 0, 500));
    let expected = [(550, "", "TOKEN_EXISTS"), (560, "", "KEY_EXISTS"), (702, "", "KEY_LIMIT_REACHED")];
    assert_eq!(reasons(&answer)[..3], expected);
    assert_eq!(reasons(&answer)[499], (1_199, "", "KEY_LIMIT_REACHED"));
    assert_eq!(client.events(imports()).await.len(), 2);
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

async fn messages_of_a_caller_have_a_limit_in_bytes_and_those_that_wait_are_imported(authority: Authority) {
    let root = with_account(&authority).await;
    let (caller, _) = authority.new_caller(&["keys.write"], None).await;
    // A connection of each, since incomplete messages on one connection have a limit too.
    let connect = || Client::with_authorization(authority.new_channel(), Some(&format!("Bearer {}", caller.token)));
    // 12 MiB each, so that two of them are admitted.
    let large = |message: usize| {
        let key = |number| ImportedKey { description: "x".repeat(2_000), ..named(&format!("key-{message}-{number}")) };
        into("acme", (0..6_000).map(key).collect())
    };
    let held = authority.database().hold_changes();
    let mut imports = tokio::task::JoinSet::new();
    for message in 0..3 {
        let client = connect();
        imports.spawn(async move { client.import(large(message)).await });
    }
    let refusal = in_time("one is refused at once", imports.join_next()).await.unwrap().unwrap();
    let (status, _) = refused(refusal, Code::ResourceExhausted, "IMPORT_RUNNING");
    assert!(status.message().contains("32 MiB"), "{}", status.message());
    let other = tokio::spawn({
        let root = root.clone();
        async move { root.import(into("acme", vec![named("other")])).await }
    });
    drop(held);
    assert_eq!(counts(&other.await.unwrap().unwrap()), (1, 0, 0), "another caller is not affected");
    while let Some(import) = imports.join_next().await {
        assert_eq!(counts(&import.unwrap().unwrap()), (6_000, 0, 0));
    }
}

async fn an_import_amid_which_the_server_was_killed_stands_by_whole_parts_and_goes_on(mut authority: Authority) {
    // Three parts.
    const KEYS: u64 = 1_200;
    let client = with_account(&authority).await;
    let messages: Vec<_> = (0..5)
        .map(|message| {
            let keys = (0..KEYS).map(|n| key(sha256(&token(&format!("{message}-{n}"))))).collect();
            ImportKeysRequest { request_id: format!("message-{message}"), ..into("acme", keys) }
        })
        .collect();
    let mut answers = client.import_keys(tokio_stream::iter(messages.clone())).await.unwrap();
    for _ in 0..2 {
        assert_eq!(counts(&answers.message().await.unwrap().unwrap()), (1_200, 0, 0));
    }
    authority.kill().await;
    authority.restart().await;
    let client = authority.client();
    let imported = async || client.get_authority_status(GetAuthorityStatusRequest {}).await.unwrap().resident_keys - 1;
    let stands = imported().await;
    assert!(stands >= 2 * KEYS && matches!(stands % KEYS, 0 | 500 | 1_000), "{stands}");
    for message in messages {
        assert_eq!(counts(&client.import(message).await.unwrap()), (1_200, 0, 0), "once, whether it stood or not");
    }
    assert_eq!(imported().await, 5 * KEYS);
    assert_eq!(client.events(imports()).await.len(), 5 * 3);
    assert!(authority.stop().await.success());
    authority.subcommand(&["audit", "verify"], &[]).await.well();
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

async fn every_replica_has_an_import_when_it_is_answered(database: Database) {
    let first = Setup::on(database).start().await;
    let second = first.another(|setup| setup).await;
    let client = with_account(&first).await;
    for n in 0..5 {
        let id = format!("key-{n}");
        let keys = vec![named(&id), key(blake3(&token(&format!("by-digest-{n}"))))];
        let answer = client.import(into("acme", keys)).await.unwrap();
        assert_eq!(answer.propagation.unwrap().replicas, 2);
        for token in [token(&id), token(&format!("by-digest-{n}"))] {
            assert_eq!(second.client().verdict(&token).await, Verdict::Valid);
        }
        second.client().revoke(&id).await;
        assert_eq!(client.verdict(&token(&id)).await, Verdict::Revoked);
    }
}

async fn nothing_is_imported_beside_a_replica_that_would_not_learn_of_it(database: Database) {
    let authority = Setup::on(database).start().await;
    let client = with_account(&authority).await;
    let marked = ImportKeysRequest { request_id: "r-1".into(), ..into("acme", vec![named("before")]) };
    let first = client.import(marked.clone()).await.unwrap();
    let another = "id, applied_revision, applied_hash, nonce, build, address, join_time, seen_time";
    let like = "REPLACE(id, SUBSTRING(id, 1, 4), 'ffff'), applied_revision, applied_hash, nonce, \
                REPLACE(build, '+log5', ''), address, join_time, seen_time";
    authority.database().sql(&format!("INSERT INTO replica ({another}) SELECT {like} FROM replica"));
    refused(client.import(into("acme", vec![named("a")])).await, Code::FailedPrecondition, "REPLICAS_DIFFER");
    let again = client.import(marked).await.unwrap();
    assert_eq!((counts(&again), revision(&again)), ((1, 0, 0), revision(&first)), "what stands is not refused");
    authority.database().sql("DELETE FROM replica WHERE build NOT LIKE '%+log5'");
    assert_eq!(counts(&client.import(into("acme", vec![named("a")])).await.unwrap()), (1, 0, 0));
}

on_every_database! {
    whatever_is_imported_of_a_token_its_holder_goes_on,
    an_imported_key_lives_as_any_other,
    what_is_wrong_with_a_key_is_told_and_the_others_are_imported,
    the_policy_holds_for_every_key,
    a_message_that_is_wrong_as_a_whole_ends_the_stream,
    a_dry_run_tells_all_and_changes_nothing,
    what_changes_nothing_waits_for_no_change,
    an_import_can_be_repeated,
    what_was_refused_at_first_is_not_told_as_deleted,
    a_message_that_was_imported_is_answered_again_whatever_came_after,
    ten_thousand_keys_are_short_changes,
    limits_and_duplicates_hold_across_the_parts_of_a_message,
    a_message_of_several_parts_can_be_repeated,
    messages_of_a_caller_have_a_limit_in_bytes_and_those_that_wait_are_imported,
    an_import_amid_which_the_server_was_killed_stands_by_whole_parts_and_goes_on,
    a_caller_whose_key_ends_meanwhile_imports_no_more,
    an_import_does_not_hold_up_the_end_of_the_server,
}

mod replicas {
    use super::*;
    on_database_servers! {
        every_replica_has_an_import_when_it_is_answered,
        nothing_is_imported_beside_a_replica_that_would_not_learn_of_it,
    }
}
