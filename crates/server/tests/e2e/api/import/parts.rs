//! Large messages, which are imported in parts, and the limit of those that wait.

use key_authority_proto::v1::*;
use tonic::Code;

use super::{counts, imports, into, key, named, numbered, reasons, revision, sha256, token, with_account};
use crate::support::{Authority, Client, in_time, on_every_database, refused};

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

on_every_database! {
    ten_thousand_keys_are_short_changes,
    limits_and_duplicates_hold_across_the_parts_of_a_message,
    messages_of_a_caller_have_a_limit_in_bytes_and_those_that_wait_are_imported,
    an_import_amid_which_the_server_was_killed_stands_by_whole_parts_and_goes_on,
}
