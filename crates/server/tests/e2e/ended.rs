//! What was ended stays powerless: callers that are revoked with calls in flight, IDs that were used, tokens of
//! callers, keys that were used at another replica.

use std::time::{Duration, Instant};

use key_authority_proto::v1::*;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::support::client::{caller_question, connection_of, key_for, question};
use crate::support::{
    Authority, Client, Database, Setup, eventually, on_database_servers, on_every_database, refused, seconds,
};

/// How many connections a caller floods the authority by, and with how many changes each.
const CONNECTIONS: usize = 4;
const CHANGES: usize = 48;

/// One change of each kind, in turn.
async fn change(client: Client, number: usize, target: &str) -> Result<(), Status> {
    let account = format!("by-the-caller-{number}");
    match number % 6 {
        0 => client.create_key(key_for("acme")).await.map(drop),
        1 => {
            let account = Some(Account { id: account, ..Account::default() });
            client.create_account(CreateAccountRequest { account, ..Default::default() }).await.map(drop)
        }
        2 => client.reveal_token(RevealTokenRequest { key_id: target.into() }).await.map(drop),
        3 => {
            let secret = Some(imported_key::Secret::Sha256({
                let mut digest = [7; 32];
                digest[..8].copy_from_slice(&(number as u64).to_be_bytes());
                digest.to_vec()
            }));
            let keys = vec![ImportedKey { secret, ..ImportedKey::default() }];
            client.import(ImportKeysRequest { account: "acme".into(), keys, ..Default::default() }).await.map(drop)
        }
        4 => {
            let request = RenewKeyRequest { key_id: target.into(), overlap: seconds(0), ..Default::default() };
            client.renew_key(request).await.map(drop)
        }
        _ => client.prepare_connection(connection_of("acme")).await.map(drop),
    }
}

/// `KEY_AUTHORITY_CALLER_ROUNDS` of the race (1), each with a caller of its own. The long form is `scripts/callers`.
async fn a_revoked_caller_with_calls_in_flight_changes_nothing_more(mut authority: Authority) {
    let rounds = std::env::var("KEY_AUTHORITY_CALLER_ROUNDS").map_or(1, |rounds| rounds.parse().expect("a number"));
    let root = authority.client();
    root.new_account("acme", KeyPolicy { recoverable: true, ..KeyPolicy::default() }).await;
    let target = root.key_in("acme").await.id();
    let mut revocations = Vec::new();
    let (mut changes, mut refusals) = (0, 0);
    for round in 0..rounds {
        let outcome = caller_race(&authority, &target, round).await;
        revocations.push(outcome.revocation);
        changes += outcome.changes;
        refusals += outcome.refusals;
    }
    revocations.sort();
    let at = |percent: usize| revocations[(revocations.len() - 1) * percent / 100];
    println!(
        "{rounds} rounds: {changes} changes before the revocations, {refusals} calls refused, 0 changes after; \
         RevokeKey amid them p50 {:?}, p99 {:?}, max {:?}",
        at(50),
        at(99),
        at(100)
    );
    assert!(authority.stop().await.success());
    authority.subcommand(&["audit", "verify"], &[]).await.well();
}

/// What came of one round.
struct RaceOutcome {
    revocation: Duration,
    changes: usize,
    refusals: usize,
}

/// A caller makes changes of all kinds over several connections, and is revoked while they are in flight.
#[expect(clippy::disallowed_methods, reason = "the figure is a time on this machine")]
async fn caller_race(authority: &Authority, target: &str, round: usize) -> RaceOutcome {
    let root = authority.client();
    let permissions = ["keys.read", "keys.write", "accounts.write", "tokens.reveal"];
    let (caller, _) = authority.new_caller(&permissions, None).await;
    let mut calls = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let client = Client::with_authorization(authority.new_channel(), Some(&format!("Bearer {}", caller.token)));
        for number in 0..CHANGES {
            let (client, target) = (client.clone(), target.to_owned());
            let number = (round * CONNECTIONS + connection) * CHANGES + number;
            calls.spawn(async move { change(client, number, &target).await });
        }
    }
    // Some have returned, and many are in flight.
    for _ in 0..CONNECTIONS * CHANGES / 8 {
        calls.join_next().await.unwrap().unwrap().unwrap();
    }
    let request = RevokeKeyRequest { key_id: caller.id(), ..Default::default() };
    let began = Instant::now();
    let revision = root.revoke_key(request).await.unwrap().propagation.unwrap().revision;
    let revocation = began.elapsed();
    let mut refusals = 0;
    while let Some(outcome) = calls.join_next().await {
        if let Err(status) = outcome.unwrap() {
            refused::<()>(Err(status), Code::Unauthenticated, "CALLER_UNKNOWN");
            refusals += 1;
        }
    }
    assert!(refusals > 0, "calls were in flight");
    let events = root.events(ListAuditEventsRequest { actor: caller.id(), ..Default::default() }).await;
    let late: Vec<_> = events.iter().filter(|event| event.revision > revision).collect();
    assert!(late.is_empty(), "{} events after the revocation: {late:?}", late.len());
    assert!(!events.is_empty());
    RaceOutcome { revocation, changes: events.len(), refusals }
}

async fn a_change_that_the_database_gives_up_is_run_again(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let key = client.key_in("acme").await;
    // Another transaction holds the key's row, and wants the lock of the change that waits for the row.
    let other = authority.database().open_transaction();
    other.execute("UPDATE api_key SET use_count = use_count + 1, description = 'other'");
    let (changing, id) = (client.clone(), key.id());
    let disabling = tokio::spawn(async move {
        changing.disable_key(DisableKeyRequest { key_id: id, ..Default::default() }).await.unwrap()
    });
    let waits = async || authority.database().has_waiting_transaction().then_some(());
    eventually("the change waits for the row", waits).await;
    other.execute("UPDATE authority SET revision = revision");
    other.commit();
    assert_eq!(disabling.await.unwrap().key.unwrap().state(), KeyState::Disabled);
    assert_eq!(client.verdict(&key.token).await, Verdict::Disabled);
}

async fn the_log_shows_a_change_by_a_caller_that_had_ended(mut authority: Authority) {
    let root = authority.client();
    let (caller, client) = authority.new_caller(&["accounts.write"], None).await;
    client.new_account("before", KeyPolicy::default()).await;
    root.revoke(&caller.id()).await;
    assert!(authority.stop().await.success());
    authority.subcommand(&["audit", "verify"], &[]).await.well();
    // As a build wrote it that authorized callers on arrival alone: the revocation stands before the change.
    let events = "UPDATE audit_event SET revision = -revision WHERE action IN (5, 9) AND account IN ('system', 'before');\
                  UPDATE audit_event SET revision = CASE action WHEN 5 THEN -revision - 1 ELSE -revision + 1 END \
                  WHERE revision < 0";
    authority.database().sql(events);
    let text = authority.subcommand(&["audit", "verify"], &[]).await.text();
    assert!(text.contains("was made by a caller whose key was revoked, disabled, deleted or expired"), "{text}");
}

async fn a_callers_token_is_unknown_unless_the_question_names_account_system(authority: Authority) {
    let root = authority.client();
    let token = authority.root_token();
    assert_eq!(root.ask(&token).await, VerifyResponse { revision: root.ask(&token).await.revision, ..unknown() });
    let batch = BatchVerifyRequest { requests: vec![question(&token), caller_question(&token)] };
    let answers = root.batch_verify(batch).await.unwrap().responses;
    assert_eq!(answers.iter().map(VerifyResponse::verdict).collect::<Vec<_>>(), [Verdict::Unknown, Verdict::Valid]);
    let questions = [question(&token), caller_question(&token)];
    let questions = (1..).zip(questions).map(|(id, request)| VerifyStreamRequest { id, request: Some(request) });
    let mut stream = root.verify_stream(tokio_stream::iter(questions.collect::<Vec<_>>())).await.unwrap();
    let mut verdicts = std::collections::BTreeMap::new();
    while let Some(answer) = stream.message().await.unwrap() {
        let Some(verify_stream_response::Outcome::Response(response)) = answer.outcome else { panic!("{answer:?}") };
        verdicts.insert(answer.id, response.verdict());
    }
    assert_eq!(verdicts.into_values().collect::<Vec<_>>(), [Verdict::Unknown, Verdict::Valid]);
}

fn unknown() -> VerifyResponse {
    VerifyResponse { verdict: Verdict::Unknown.into(), ..VerifyResponse::default() }
}

async fn an_id_is_used_once(authority: Authority) {
    let client = authority.client();
    for account in ["acme", "other"] {
        client.new_account(account, KeyPolicy::default()).await;
    }
    let named = |account: &str| CreateKeyRequest { key_id: "ci".into(), ..key_for(account) };
    client.create_key(named("acme")).await.unwrap();
    client.delete_key(DeleteKeyRequest { key_id: "ci".into(), ..Default::default() }).await.unwrap();
    for account in ["acme", "other", "system"] {
        refused(client.create_key(named(account)).await, Code::AlreadyExists, "KEY_EXISTS");
    }
    let secret = Some(imported_key::Secret::Sha256(vec![7; 32]));
    let imported = ImportedKey { key_id: "ci".into(), secret, ..ImportedKey::default() };
    let import = ImportKeysRequest { account: "other".into(), keys: vec![imported], ..Default::default() };
    assert_eq!(client.import(import.clone()).await.unwrap().errors[0].reason, "KEY_EXISTS");

    // One that was imported is used as well, although no event of its creation names it.
    let mut other = import;
    other.keys[0].key_id = "brought".into();
    assert_eq!(client.import(other.clone()).await.unwrap().imported, 1);
    client.delete_key(DeleteKeyRequest { key_id: "brought".into(), ..Default::default() }).await.unwrap();
    assert_eq!(client.import(other).await.unwrap().errors[0].reason, "KEY_EXISTS");
    let again = CreateKeyRequest { key_id: "brought".into(), ..key_for("acme") };
    refused(client.create_key(again).await, Code::AlreadyExists, "KEY_EXISTS");
}

async fn ending_passes_the_changes_that_wait(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let key = root.key_in("acme").await;
    let (_, caller) = authority.new_caller(&["keys.write"], None).await;
    let held = authority.database().hold_changes();
    let mut creations = JoinSet::new();
    for _ in 0..20 {
        let caller = caller.clone();
        creations.spawn(async move { caller.create_key(key_for("acme")).await.unwrap().propagation.unwrap().revision });
    }
    let all_wait = async || (waiting(&authority, "ordinary").await == 19).then_some(());
    eventually("one change waits for the lock, and the others behind it", all_wait).await;
    let (root, id) = (authority.client(), key.id());
    let revocation = tokio::spawn(async move { root.revoke_everywhere(&id).await.revision });
    let revocation_waits = async || (waiting(&authority, "ending").await == 1).then_some(());
    eventually("the revocation waits", revocation_waits).await;
    drop(held);
    let revoked = revocation.await.unwrap();
    let created = creations.join_all().await;
    // The one that had its turn already comes first.
    let before = created.iter().filter(|revision| **revision < revoked).count();
    assert_eq!(before, 1, "the revocation is {revoked}, the others {created:?}");
}

async fn a_revocation_passes_imports_and_creations_of_another_caller(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let key = root.key_in("acme").await;
    let (tenant, _) = authority.new_caller(&["keys.write"], None).await;
    let new_tenant_client =
        || Client::with_authorization(authority.new_channel(), Some(&format!("Bearer {}", tenant.token)));
    let held = authority.database().hold_changes();
    let mut changes = JoinSet::new();
    let importing = new_tenant_client();
    for stream in 0..12_u64 {
        let client = importing.clone();
        changes.spawn(async move {
            let messages = (0..2_u64).map(move |message| import_of(stream * 2 + message, 1_000));
            let mut answers = client.import_keys(tokio_stream::iter(messages)).await?;
            while answers.message().await?.is_some() {}
            Ok::<_, Status>(())
        });
    }
    let creating = new_tenant_client();
    for _ in 0..100 {
        let client = creating.clone();
        changes.spawn(async move { client.create_key(key_for("acme")).await.map(drop) });
    }
    // One change has the turn. An import stream waits in the queue with one part at most.
    let all_wait = async || (waiting(&authority, "ordinary").await >= 100).then_some(());
    eventually("the changes of the tenant wait", all_wait).await;
    let revoking = root.clone();
    let id = key.id();
    let revocation = tokio::spawn(async move { revoking.revoke_everywhere(&id).await.revision });
    let revocation_waits = async || (waiting(&authority, "ending").await == 1).then_some(());
    eventually("the revocation waits", revocation_waits).await;
    drop(held);
    let revoked = revocation.await.unwrap();
    // A change of another caller that is not urgent has its turn after one of the tenant.
    let created = root.key_in("acme").await.id();
    let events = root.events(ListAuditEventsRequest::default()).await;
    let creation = events.iter().find(|event| event.key_id == created).unwrap().revision;
    let by_tenant = |from: u64, to: u64| {
        let is_between = |event: &&AuditEvent| event.actor == tenant.id() && (from..to).contains(&event.revision);
        events.iter().filter(is_between).count()
    };
    assert!(by_tenant(0, revoked) <= 1, "{} changes of the tenant before the revocation", by_tenant(0, revoked));
    assert!(by_tenant(0, creation) < 100, "the creation does not wait for all of the tenant's changes");
    changes.shutdown().await;
}

/// A message of so many keys.
fn import_of(message: u64, count: u64) -> ImportKeysRequest {
    let key = |number: u64| {
        let mut digest = [7; 32];
        digest[..8].copy_from_slice(&message.to_be_bytes());
        digest[8..16].copy_from_slice(&number.to_be_bytes());
        ImportedKey { secret: Some(imported_key::Secret::Sha256(digest.to_vec())), ..ImportedKey::default() }
    };
    ImportKeysRequest { account: "acme".into(), keys: (0..count).map(key).collect(), ..Default::default() }
}

async fn the_waiting_changes_of_a_caller_have_a_limit_and_cancelled_ones_do_not_count(authority: Authority) {
    const LIMIT: u64 = 256;
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let (tenant, _) = authority.new_caller(&["keys.write"], None).await;
    let held = authority.database().hold_changes();
    let mut creations = JoinSet::new();
    for _ in 0..2 {
        let client = Client::with_authorization(authority.new_channel(), Some(&format!("Bearer {}", tenant.token)));
        for _ in 0..150 {
            let client = client.clone();
            creations.spawn(async move { client.create_key(key_for("acme")).await.map(drop) });
        }
    }
    // One has the turn and 256 wait.
    for _ in 0..300 - LIMIT - 1 {
        let refusal = creations.join_next().await.unwrap().unwrap();
        let (status, _) = refused(refusal, Code::ResourceExhausted, "TOO_MANY_CHANGES");
        assert!(status.message().starts_with("256 changes of this caller wait"), "{}", status.message());
    }
    assert_eq!(waiting(&authority, "ordinary").await, LIMIT);
    let creation = tokio::spawn({
        let root = root.clone();
        async move { root.create_key(key_for("acme")).await.map(drop) }
    });
    let all_wait = async || (waiting(&authority, "ordinary").await == LIMIT + 1).then_some(());
    eventually("another caller's change waits as well", all_wait).await;
    creations.shutdown().await;
    let none_waits = async || (waiting(&authority, "ordinary").await == 0).then_some(());
    eventually("cancelled changes leave the queue while the lock is held", none_waits).await;
    assert!(!creation.is_finished());
    drop(held);
    creation.await.unwrap().unwrap();
    let metrics = authority.metrics().await;
    assert!(metrics.contains("keyauthority_admin_refused_total{reason=\"TOO_MANY_CHANGES\"} 43"), "{metrics}");
}

/// How many changes wait in the queue of the process.
pub(crate) async fn waiting(authority: &Authority, urgency: &str) -> u64 {
    let series = format!("keyauthority_waiting_changes{{urgency=\"{urgency}\"}} ");
    let metrics = authority.metrics().await;
    metrics.lines().find_map(|line| line.strip_prefix(&series)).expect("the metric is there").parse().unwrap()
}

async fn a_use_at_another_replica_counts_for_the_delete_guard(database: Database) {
    let first = Setup::on(database).start().await;
    let second = first.another(|setup| setup).await;
    let client = first.client();
    let policy = KeyPolicy { recently_used_window: seconds(3600), ..KeyPolicy::default() };
    client.new_account("acme", policy).await;
    let delete = async |key_id: String, allow_recently_used| {
        client.delete_key(DeleteKeyRequest { key_id, allow_recently_used, ..Default::default() }).await
    };
    for _ in 0..10 {
        let key = client.key_in("acme").await;
        assert_eq!(second.client().verdict(&key.token).await, Verdict::Valid);
        refused(delete(key.id(), false).await, Code::FailedPrecondition, "KEY_RECENTLY_USED");
        assert!(client.key(&key.id()).await.last_used_time.is_some(), "it is written down");
        delete(key.id(), true).await.unwrap();
    }
    let unused = client.key_in("acme").await;
    delete(unused.id(), false).await.unwrap();
    assert_eq!(second.client().verdict(&unused.token).await, Verdict::Unknown);
    let actions = [Action::PrepareDeleteKey.into(), Action::DeleteKey.into()];
    let of_key = ListAuditEventsRequest { key_id: unused.id(), actions: actions.to_vec(), ..Default::default() };
    let events = client.events(of_key).await;
    assert_eq!(events.iter().map(|event| event.action).collect::<Vec<_>>(), actions);
}

on_every_database! {
    a_revoked_caller_with_calls_in_flight_changes_nothing_more,
    the_log_shows_a_change_by_a_caller_that_had_ended,
    a_callers_token_is_unknown_unless_the_question_names_account_system,
    an_id_is_used_once,
    ending_passes_the_changes_that_wait,
    a_revocation_passes_imports_and_creations_of_another_caller,
    the_waiting_changes_of_a_caller_have_a_limit_and_cancelled_ones_do_not_count,
}

mod with_replicas {
    use super::*;
    on_database_servers! {
        a_use_at_another_replica_counts_for_the_delete_guard,
        a_change_that_the_database_gives_up_is_run_again,
    }
}
