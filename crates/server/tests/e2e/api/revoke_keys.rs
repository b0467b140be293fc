//! `RevokeKeys`: all keys of an account that match filters, with one call.

use key_authority_proto::v1::imported_key::Secret;
use key_authority_proto::v1::*;
use tonic::Code;

use crate::support::client::{key_for, only};
use crate::support::{
    Authority, Client, Database, NewKey, Setup, assert_same_set, invalid, on_database_servers, on_every_database,
    refused,
};

fn of(account: &str) -> RevokeKeysRequest {
    RevokeKeysRequest { account: account.into(), ..Default::default() }
}

fn owned_by(owner: &str) -> CreateKeyRequest {
    CreateKeyRequest { labels: [("owner".to_owned(), owner.to_owned())].into(), ..key_for("acme") }
}

async fn with_account(authority: &Authority) -> Client {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    client
}

async fn the_keys_of_a_person_end_with_one_call(authority: Authority) {
    let client = with_account(&authority).await;
    let mut anns = Vec::new();
    for _ in 0..3 {
        anns.push(client.new_key(owned_by("ann")).await);
    }
    let bobs = client.new_key(owned_by("bob")).await;
    client.new_account("other", KeyPolicy::default()).await;
    let elsewhere = client.new_key(CreateKeyRequest { account: "other".into(), ..owned_by("ann") }).await;
    let revision = async || client.get_authority_status(GetAuthorityStatusRequest {}).await.unwrap().revision;

    let labels = owned_by("ann").labels;
    let request = RevokeKeysRequest { labels, reason: "ann left".into(), ..of("acme") };
    let before = revision().await;
    let dry = client.revoke_keys(RevokeKeysRequest { dry_run: true, ..request.clone() }).await.unwrap();
    let ids: Vec<_> = anns.iter().map(NewKey::id).collect();
    assert_eq!((dry.count, dry.propagation, dry.revisions), (3, None, vec![]));
    assert_same_set(dry.key_ids.clone(), ids.clone());
    assert_eq!((revision().await, client.verdict(&anns[0].token).await), (before, Verdict::Valid));

    let done = client.revoke_keys(request.clone()).await.unwrap();
    assert_eq!((done.count, done.revisions, done.propagation.unwrap().revision), (3, vec![before + 1], before + 1));
    assert_same_set(done.key_ids.clone(), ids.clone());
    for key in &anns {
        assert_eq!(client.verdict(&key.token).await, Verdict::Revoked);
        assert_eq!(client.key(&key.id()).await.revoke_reason, "ann left");
    }
    for token in [&bobs.token, &elsewhere.token] {
        assert_eq!(client.verdict(token).await, Verdict::Valid);
    }
    let event = client.events(ListAuditEventsRequest::default()).await.pop().unwrap();
    assert_eq!((event.action(), event.account.as_str(), event.key_id.as_str()), (Action::RevokeKeys, "acme", ""));
    let after = event.after.unwrap().fields;
    let number = prost_types::value::Kind::NumberValue(3.0);
    assert_eq!(after["key_count"].kind, Some(number));
    assert!(after.contains_key("keys_hash") && after.contains_key("reason"));

    let again = client.revoke_keys(request).await.unwrap();
    assert_eq!((again.count, again.revisions), (0, vec![]), "revoked keys do not count again");
    assert!(again.propagation.is_some(), "but the call waits until they are enforced");
}

async fn each_filter_selects_keys_and_all_must_match(authority: Authority) {
    let client = with_account(&authority).await;
    let (caller, another) = authority.new_caller(&["keys.write"], None).await;
    let by_caller = another.new_key(owned_by("ann")).await;
    let in_shop = client.new_key(CreateKeyRequest { projects: only(&["shop"]), ..owned_by("ann") }).await;
    let in_blog = client.new_key(CreateKeyRequest { projects: only(&["blog", "\"shop\""]), ..owned_by("bob") }).await;
    let matching = async |request: RevokeKeysRequest| {
        client.revoke_keys(RevokeKeysRequest { dry_run: true, ..request }).await.unwrap().key_ids
    };
    let (caller_id, shop_id, blog_id) = (by_caller.id(), in_shop.id(), in_blog.id());
    let created_by = Some(caller.id());
    let project = || Some("shop".to_owned());
    let labels = owned_by("ann").labels;
    assert_same_set(matching(of("acme")).await, [caller_id.clone(), shop_id.clone(), blog_id.clone()]);
    let by = RevokeKeysRequest { created_by: created_by.clone(), ..of("acme") };
    assert_eq!(matching(by.clone()).await, std::slice::from_ref(&caller_id));
    let shop = RevokeKeysRequest { project: project(), ..of("acme") };
    assert_same_set(matching(shop.clone()).await, [caller_id.clone(), shop_id.clone()]);
    let labelled = RevokeKeysRequest { labels: labels.clone(), ..of("acme") };
    assert_same_set(matching(labelled).await, [caller_id.clone(), shop_id.clone()]);
    let key_ids = vec![blog_id.clone(), "nobody".to_owned(), shop_id.clone()];
    let named = RevokeKeysRequest { key_ids, ..of("acme") };
    assert_same_set(matching(named.clone()).await, [blog_id.clone(), shop_id.clone()]);
    assert_eq!(
        matching(RevokeKeysRequest { project: project(), labels, ..named }).await,
        std::slice::from_ref(&shop_id)
    );
    let create_time_before = in_shop.key.create_time;
    let earlier = RevokeKeysRequest { create_time_before, ..of("acme") };
    assert_eq!(matching(earlier).await, std::slice::from_ref(&caller_id));
    let by_caller_in_blog = RevokeKeysRequest { project: Some("blog".into()), created_by, ..of("acme") };
    assert_eq!(matching(by_caller_in_blog).await, std::slice::from_ref(&caller_id));
}

/// Imports so many keys.
async fn fill(client: &Client, account: &str, count: usize) {
    for start in (0..count).step_by(10_000) {
        let keys = (start..count.min(start + 10_000)).map(|number| ImportedKey {
            key_id: format!("{account}-{number:06}"),
            secret: Some(Secret::Token(token_of(account, number))),
            ..ImportedKey::default()
        });
        let message = ImportKeysRequest { account: account.into(), keys: keys.collect(), ..Default::default() };
        let answer = client.import(message).await.unwrap();
        assert!(answer.errors.is_empty(), "{:?}", answer.errors);
    }
}

fn token_of(account: &str, number: usize) -> String {
    format!("token-of-{account}-{number:06}-0123456789")
}

/// More keys than one change revokes.
const COUNT: usize = 5_200;

async fn many_keys_end_with_one_call(authority: Authority) {
    let client = with_account(&authority).await;
    fill(&client, "acme", COUNT).await;
    let request = RevokeKeysRequest { request_id: "r-1".into(), ..of("acme") };
    let done = client.revoke_keys(request.clone()).await.unwrap();
    assert_eq!((done.count as usize, done.revisions.len(), done.key_ids.len()), (COUNT, 2, 1_000));
    assert_eq!(done.propagation.unwrap().revision, done.revisions[done.revisions.len() - 1]);
    for number in [0, 4_999, 5_000, COUNT - 1] {
        assert_eq!(client.verdict(&token_of("acme", number)).await, Verdict::Revoked);
    }
    let later = client.key_in("acme").await;
    let again = client.revoke_keys(request.clone()).await.unwrap();
    assert_eq!((again.count, again.revisions, again.key_ids), (done.count, done.revisions, done.key_ids));
    assert_eq!(client.verdict(&later.token).await, Verdict::Valid, "a repeated call revokes no later key");
    let other = RevokeKeysRequest { reason: "another".into(), ..request };
    refused(client.revoke_keys(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
}

async fn a_call_that_found_no_key_revokes_none_when_it_is_repeated(authority: Authority) {
    let client = with_account(&authority).await;
    let request = RevokeKeysRequest { request_id: "r-1".into(), ..of("acme") };
    let first = client.revoke_keys(request.clone()).await.unwrap();
    assert_eq!((first.count, first.revisions.len()), (0, 0));
    let later = client.key_in("acme").await;
    let again = client.revoke_keys(request.clone()).await.unwrap();
    assert_eq!((again.count, again.propagation.map(|p| p.revision)), (0, first.propagation.map(|p| p.revision)));
    assert_eq!(client.verdict(&later.token).await, Verdict::Valid);
    let other = RevokeKeysRequest { reason: "another".into(), ..request };
    refused(client.revoke_keys(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
}

async fn callers_that_end_together_are_found_by_the_audit(mut authority: Authority) {
    let root = authority.client();
    let (ended, client) = authority.new_caller(&["keys.read"], None).await;
    let key_ids = vec![ended.id()];
    let done = root.revoke_keys(RevokeKeysRequest { key_ids, ..of("system") }).await.unwrap();
    assert_eq!(done.count, 1);
    refused(client.list_keys(ListKeysRequest::default()).await, Code::Unauthenticated, "CALLER_UNKNOWN");
    let event = root.events(ListAuditEventsRequest::default()).await.pop().unwrap();
    assert!(event.after.unwrap().fields.contains_key("key_ids"), "the log names callers that ended");
    assert!(authority.stop().await.success());
    authority.subcommand(&["audit", "verify"], &[]).await.well();
}

async fn bad_input_is_refused(authority: Authority) {
    let client = with_account(&authority).await;
    let key = client.key_in("acme").await;
    invalid(client.revoke_keys(of("")).await, "account");
    invalid(client.revoke_keys(RevokeKeysRequest { key_ids: vec!["x".into(); 1_001], ..of("acme") }).await, "key_ids");
    let key_ids = vec![key.id(), "no id".into()];
    invalid(client.revoke_keys(RevokeKeysRequest { key_ids, ..of("acme") }).await, "key_ids[1]");
    let labels = [("no name".to_owned(), String::new())].into();
    invalid(client.revoke_keys(RevokeKeysRequest { labels, ..of("acme") }).await, "labels");
    invalid(client.revoke_keys(RevokeKeysRequest { created_by: Some("a b".into()), ..of("acme") }).await, "created_by");
    invalid(client.revoke_keys(RevokeKeysRequest { project: Some("p".repeat(257)), ..of("acme") }).await, "project");
    invalid(client.revoke_keys(RevokeKeysRequest { reason: "\0".into(), ..of("acme") }).await, "reason");
    // A template without its value must not select every key.
    invalid(
        client.revoke_keys(RevokeKeysRequest { created_by: Some(String::new()), ..of("acme") }).await,
        "created_by",
    );
    invalid(client.revoke_keys(RevokeKeysRequest { project: Some(String::new()), ..of("acme") }).await, "project");
    refused(client.revoke_keys(of("nobody")).await, Code::NotFound, "ACCOUNT_NOT_FOUND");
    assert_eq!(client.verdict(&key.token).await, Verdict::Valid);
}

async fn a_restarted_server_knows_the_revoked_keys(mut authority: Authority) {
    let client = with_account(&authority).await;
    let key = client.key_in("acme").await;
    client.revoke_keys(of("acme")).await.unwrap();
    authority.kill().await;
    authority.restart().await;
    assert_eq!(authority.client().verdict(&key.token).await, Verdict::Revoked);
    assert!(authority.stop().await.success());
    authority.subcommand(&["audit", "verify"], &[]).await.well();
}

async fn every_replica_enforces_the_end_when_it_is_answered(database: Database) {
    let first = Setup::on(database).start().await;
    let second = first.another(|setup| setup).await;
    let client = with_account(&first).await;
    for round in 0..5 {
        let owner = format!("owner-{round}");
        let keys = [client.new_key(owned_by(&owner)).await, client.new_key(owned_by(&owner)).await];
        let request = RevokeKeysRequest { labels: owned_by(&owner).labels, ..of("acme") };
        let done = client.revoke_keys(request).await.unwrap();
        assert_eq!((done.count, done.propagation.unwrap().replicas), (2, 2));
        for key in keys {
            assert_eq!(second.client().verdict(&key.token).await, Verdict::Revoked);
        }
    }
}

async fn beside_a_replica_of_an_older_build_it_is_refused(database: Database) {
    let authority = Setup::on(database).start().await;
    let client = with_account(&authority).await;
    let key = client.key_in("acme").await;
    let another = "id, applied_revision, applied_hash, nonce, build, address, join_time, seen_time";
    let like = "REPLACE(id, SUBSTRING(id, 1, 4), 'ffff'), applied_revision, applied_hash, nonce, \
                REPLACE(build, '+log5', '+log3'), address, join_time, seen_time";
    authority.database().sql(&format!("INSERT INTO replica ({another}) SELECT {like} FROM replica"));
    refused(client.revoke_keys(of("acme")).await, Code::FailedPrecondition, "REPLICAS_DIFFER");
    assert_eq!(client.verdict(&key.token).await, Verdict::Valid);
    authority.database().sql("DELETE FROM replica WHERE build LIKE '%+log3'");
    assert_eq!(client.revoke_keys(of("acme")).await.unwrap().count, 1);
}

on_every_database! {
    the_keys_of_a_person_end_with_one_call,
    each_filter_selects_keys_and_all_must_match,
    many_keys_end_with_one_call,
    a_call_that_found_no_key_revokes_none_when_it_is_repeated,
    callers_that_end_together_are_found_by_the_audit,
    bad_input_is_refused,
    a_restarted_server_knows_the_revoked_keys,
}

mod replicas {
    use super::*;
    on_database_servers! {
        every_replica_enforces_the_end_when_it_is_answered,
        beside_a_replica_of_an_older_build_it_is_refused,
    }
}
