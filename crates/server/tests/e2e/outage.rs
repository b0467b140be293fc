//! The database goes away and comes back: admin RPCs say so and heal by themselves, Verify goes on for its lease, and
//! no outage is ever answered as a denial.

mod empty;
mod full;
mod lock;

use std::collections::BTreeMap;
use std::time::Duration;

use key_authority_proto::v1::*;
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;

use crate::support::authority::{STORAGE, VERIFY};
use crate::support::client::{key_for, question};
use crate::support::{
    Authority, Chance, Database, Setup, eventually, http, in_time, on_database_servers, refused, seed,
};

/// How long an admin RPC may take to say that the database is away.
const NOTIFY_GRACE: Duration = Duration::from_secs(6);

async fn linked(database: Database) -> Authority {
    let authority = Setup::on(database).linked().start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    authority
}

/// Fails unless the call says in time that the database is away.
async fn assert_away<T>(what: &str, call: impl Future<Output = Result<T, Status>>) {
    let result = tokio::time::timeout(NOTIFY_GRACE, call).await;
    let result = result.unwrap_or_else(|_| panic!("{what}: no answer within {NOTIFY_GRACE:?}"));
    refused(result, Code::Unavailable, "STORAGE_UNAVAILABLE");
}

async fn when_the_database_is_cut_off_verify_goes_on_for_its_lease(database: Database) {
    let authority = linked(database).await;
    let client = authority.client();
    let (good, bad) = (client.key_in("acme").await, client.key_in("acme").await);
    client.revoke(&bad.id()).await;
    authority.link().cut();
    assert_eq!(client.verdict(&good.token).await, Verdict::Valid, "the moment it is cut");
    assert_eq!(client.verdict(&bad.token).await, Verdict::Revoked);

    authority.await_health(STORAGE, ServingStatus::NotServing).await;
    assert_eq!(authority.health_of(VERIFY).await, ServingStatus::Serving, "Verify can still answer");
    assert_eq!(authority.health_of("").await, ServingStatus::Serving);
    let body = "verify: ready\nstorage: not ready: the database does not answer, or cannot be written\n";
    assert_eq!(http::get(authority.http(), "/readyz").await, (200, body.to_owned()));
    assert_eq!(client.verdict(&good.token).await, Verdict::Valid);
    assert_away("GetKey", client.get_key(GetKeyRequest { key_id: good.id() })).await;
    assert_eq!(client.verdict(&good.token).await, Verdict::Valid, "a call that fails costs no lease");

    // Then it may not answer any more; until then it answers right, and afterwards it does not deny.
    let unavailable = eventually("the lease ends", async || match client.verify(question(&good.token)).await {
        Ok(answer) => {
            assert_eq!(answer.verdict(), Verdict::Valid);
            None
        }
        Err(status) => Some(status),
    })
    .await;
    refused::<()>(Err(unavailable), Code::Unavailable, "LEASE_EXPIRED");
    refused(client.verify(question("no token")).await, Code::Unavailable, "LEASE_EXPIRED");
    refused(client.get_key(GetKeyRequest { key_id: good.id() }).await, Code::Unavailable, "LEASE_EXPIRED");
    authority.await_health(VERIFY, ServingStatus::NotServing).await;
    let (code, body) = http::get(authority.http(), "/readyz").await;
    assert!(code == 503 && body.starts_with("verify: not ready: the lease has expired\n"), "{body}");
    assert_eq!(http::get(authority.http(), "/livez").await.0, 200, "it is no reason to kill it");

    authority.link().open();
    authority.await_health(VERIFY, ServingStatus::Serving).await;
    authority.await_health(STORAGE, ServingStatus::Serving).await;
    assert_eq!(client.verdict(&good.token).await, Verdict::Valid);
    assert_eq!(client.verdict(&bad.token).await, Verdict::Revoked);
    client.key_in("acme").await;
}

async fn when_the_database_is_cut_off_admin_calls_report_it(database: Database) {
    let authority = linked(database).await;
    let client = authority.client();
    let key = client.key_in("acme").await;
    let key_id = || key.id();
    authority.link().cut();
    let create = CreateKeyRequest { request_id: "during".into(), ..key_for("acme") };
    // All at once, so that all are asked while the lease lasts.
    tokio::join!(
        assert_away("GetKey", client.get_key(GetKeyRequest { key_id: key_id() })),
        assert_away("ListKeys", client.list_keys(ListKeysRequest { account: "acme".into(), ..Default::default() })),
        assert_away("ListAccounts", client.list_accounts(ListAccountsRequest::default())),
        assert_away("ListAuditEvents", client.list_audit_events(ListAuditEventsRequest::default())),
        assert_away("CreateKey", client.create_key(create.clone())),
        assert_away("RevokeKey", client.revoke_key(RevokeKeyRequest { key_id: key_id(), ..Default::default() })),
    );
    assert_eq!(client.verdict(&key.token).await, Verdict::Valid, "what was refused was not done");

    authority.link().open();
    let created = eventually("admin calls work again", async || client.create_key(create.clone()).await.ok()).await;
    assert!(!created.token.is_empty(), "the call that was refused is made under its request_id");
    assert_eq!(client.key(&key_id()).await.state(), KeyState::Active);
    authority.await_health(STORAGE, ServingStatus::Serving).await;
}

async fn many_changes_at_once_fail_in_time_when_the_database_is_away(database: Database) {
    let authority = linked(database).await;
    authority.link().cut();
    assert_many_changes_fail_in_time(&authority).await;
}

async fn many_changes_at_once_fail_in_time_when_the_database_is_silent(database: Database) {
    let authority = linked(database).await;
    authority.link().pause();
    assert_many_changes_fail_in_time(&authority).await;
}

/// Fails unless each of twenty simultaneous changes fails in time, not one after the other.
async fn assert_many_changes_fail_in_time(authority: &Authority) {
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let client = authority.client();
        calls.spawn(async move { assert_away("CreateKey", client.create_key(key_for("acme"))).await });
    }
    calls.join_all().await;
}

async fn when_the_database_falls_silent_admin_calls_end_in_time(database: Database) {
    let authority = linked(database).await;
    let client = authority.client();
    let key = client.key_in("acme").await;
    // Nobody hangs up: packets are lost, and no socket tells.
    authority.link().pause();
    let create = CreateKeyRequest { request_id: "silence".into(), ..key_for("acme") };
    tokio::join!(
        assert_away("GetKey", client.get_key(GetKeyRequest { key_id: key.id() })),
        assert_away("CreateKey", client.create_key(create.clone())),
        async { assert_eq!(client.verdict(&key.token).await, Verdict::Valid) },
    );
    authority.link().open();
    authority.await_health(STORAGE, ServingStatus::Serving).await;
    eventually("admin calls work again", async || client.create_key(create.clone()).await.ok()).await;
    assert_eq!(client.keys_of("acme").await.len(), 2);
}

/// Deletions that are given up while the database is silent cost no key a use.
async fn deletions_that_are_given_up_lose_no_use(database: Database) {
    const USES: u64 = 100;
    let authority = linked(database).await;
    let client = authority.client();
    let (used, doomed) = (client.key_in("acme").await, client.key_in("acme").await);
    authority.link().pause();
    for _ in 0..USES {
        assert_eq!(client.verdict(&used.token).await, Verdict::Valid);
        let delete = client.delete_key(DeleteKeyRequest { key_id: doomed.id(), ..Default::default() });
        let given_up = tokio::time::timeout(Duration::from_millis(10), delete).await;
        assert!(given_up.is_err(), "the database was there: {given_up:?}");
    }
    authority.link().open();
    let written = eventually("the uses are written down", async || {
        client.get_key(GetKeyRequest { key_id: used.id() }).await.ok().filter(|key| key.use_count >= USES)
    });
    assert_eq!(written.await.use_count, USES);
}

/// Calls that the cut caught anywhere, also between COMMIT and its answer: each, repeated under its `request_id`, has
/// exactly one effect.
async fn of_calls_that_a_cut_interrupts_each_has_one_effect(database: Database) {
    const ROUNDS: usize = 5;
    const CALLS: usize = 6;
    let mut chance = Chance(seed());
    let authority = linked(database).await;
    let client = authority.client();
    for round in 0..ROUNDS {
        let (answered, mut answers) = tokio::sync::mpsc::unbounded_channel();
        let mut calls = tokio::task::JoinSet::new();
        for call in 0..CALLS {
            let (client, answered) = (client.clone(), answered.clone());
            let request = CreateKeyRequest { request_id: format!("{round}-{call}"), ..key_for("acme") };
            calls.spawn(async move {
                let first = client.create_key(request.clone()).await;
                let _ = answered.send(());
                (request, first)
            });
        }
        for _ in 0..chance.below(CALLS as u64) {
            answers.recv().await;
        }
        authority.link().cut();
        let outcomes = in_time("every call ends", calls.join_all()).await;
        authority.link().open();
        let mut tokens = BTreeMap::new();
        for (request, first) in outcomes {
            match first {
                Ok(created) => drop(tokens.insert(created.key.unwrap().id, created.token)),
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "never a denial: {status:?}"),
            }
            let again =
                eventually("the call is repeated", async || client.create_key(request.clone()).await.ok()).await;
            let id = again.key.unwrap().id;
            // A token is shown once at most: to the first call, to the second, or, where the answer was lost, to
            // nobody.
            assert!(again.token.is_empty() || tokens.insert(id, again.token).is_none());
        }
        for (id, token) in tokens {
            assert_eq!(client.ask(&token).await.key_id, id, "an acknowledged key is there");
        }
        assert_eq!(client.keys_of("acme").await.len(), (round + 1) * CALLS, "one key for each request");
    }
    let created = ListAuditEventsRequest {
        actions: vec![Action::CreateKey.into()],
        account: "acme".into(),
        ..Default::default()
    };
    assert_eq!(client.events(created).await.len(), ROUNDS * CALLS, "and one event");
    let proof = authority.subcommand(&["audit", "verify"], &[]).await.well();
    println!("{}", proof.stdout);
}

async fn it_ends_in_time_while_the_database_is_silent(database: Database) {
    // Leaving the registry is given up after one second, the last writes after two.
    const LIMIT: Duration = Duration::from_secs(5);
    let mut authority = linked(database).await;
    authority.link().pause();
    let ended = tokio::time::timeout(LIMIT, authority.stop()).await;
    assert!(ended.unwrap_or_else(|_| panic!("it does not end within {LIMIT:?}")).success());
}

on_database_servers! {
    it_ends_in_time_while_the_database_is_silent,
    when_the_database_is_cut_off_verify_goes_on_for_its_lease,
    when_the_database_is_cut_off_admin_calls_report_it,
    many_changes_at_once_fail_in_time_when_the_database_is_away,
    many_changes_at_once_fail_in_time_when_the_database_is_silent,
    when_the_database_falls_silent_admin_calls_end_in_time,
    deletions_that_are_given_up_lose_no_use,
    of_calls_that_a_cut_interrupts_each_has_one_effect,
}
