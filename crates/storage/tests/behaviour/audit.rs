//! Reads and verification of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use key_authority_domain::audit::{Action, AuditEvent, ChainError};
use key_authority_domain::id::Revision;
use key_authority_storage::Store;
use key_authority_storage::audit_read::{EventOrder, EventQuery};
use key_authority_storage::page::AccountScope;

use crate::changes::every_event;
use crate::support::make::{actor, at, event, key_id, note, only, ring_of};
use crate::support::{Database, Kind, on_every_database};

on_every_database! {
    events_are_filtered_by_their_fields,
    events_are_listed_in_commit_order_on_pages_of_any_size,
    pages_of_events_are_limited_in_bytes,
    times_filter_the_events_of_an_account_whatever_the_clock_did,
    an_altered_event_is_reported,
    an_unreadable_event_is_reported_once,
    a_deleted_event_is_reported,
    a_deleted_last_event_is_reported,
    an_inserted_event_is_reported,
    an_event_inserted_before_the_first_is_reported,
    a_head_that_was_reset_is_reported,
    a_log_truncated_with_its_head_is_reported_if_a_head_is_expected,
    of_many_errors_the_first_are_reported_and_the_rest_counted,
    a_log_is_verified_during_concurrent_writes,
    without_the_secret_no_log_can_be_verified,
}

async fn log_of(database: &Database, events: usize) -> Store {
    let store = database.store().await;
    for _ in 0..events {
        note(&store).await;
    }
    assert_eq!(faults(&store).await, []);
    store
}

async fn faults(store: &Store) -> Vec<ChainError> {
    store.verify_log(None, |_| ()).await.unwrap().faults
}

const fn altered(revision: i64) -> ChainError {
    ChainError::Altered { revision: Revision(revision) }
}

async fn events_are_filtered_by_their_fields(database: Database) {
    let store = database.store().await;
    let mut times = Vec::new();
    for (who, action, account, key) in [
        ("alice", Action::CreateAccount, "acme", None),
        ("alice", Action::CreateKey, "acme", Some("key_1")),
        ("bob", Action::RevokeKey, "acme", Some("key_1")),
        ("bob", Action::CreateKey, "Acme", Some("Key_1")),
        ("Alice", Action::DeleteKey, "other", Some("key_2")),
    ] {
        let said = AuditEvent { actor: actor(who), ..event(action, account, key) };
        times.push(store.begin().await.unwrap().commit(said).await.unwrap().time);
    }
    for (revision, time) in (1..).zip([-5, 10, 20, 30, 40]) {
        database.tamper(&format!("UPDATE audit_event SET event_time = {time} WHERE revision = {revision}")).await;
    }
    for (query, expected) in [
        (every_event(), &[1, 2, 3, 4, 5][..]),
        (EventQuery { accounts: only(&["acme"]), ..every_event() }, &[1, 2, 3]),
        (EventQuery { accounts: only(&["other", "Acme"]), ..every_event() }, &[4, 5]),
        (EventQuery { accounts: only(&[]), ..every_event() }, &[]),
        (EventQuery { key_id: Some(key_id("key_1")), ..every_event() }, &[2, 3]),
        (EventQuery { actor: Some(actor("alice")), ..every_event() }, &[1, 2]),
        (EventQuery { actions: vec![Action::CreateKey, Action::DeleteKey], ..every_event() }, &[2, 4, 5]),
        (EventQuery { start: Some(at(20)), ..every_event() }, &[3, 4, 5]),
        (EventQuery { end: Some(at(20)), ..every_event() }, &[1, 2]),
        (EventQuery { start: Some(at(-5)), end: Some(at(-4)), ..every_event() }, &[1]),
        (EventQuery { accounts: only(&["acme"]), actor: Some(actor("bob")), ..every_event() }, &[3]),
    ] {
        let page = store.events(&query, 10, Revision(0)).await.unwrap();
        let revisions: Vec<_> = page.items.iter().map(|logged| logged.revision.0).collect();
        assert_eq!((revisions.as_slice(), page.next), (expected, None), "{query:?}");
        let query = EventQuery { order: EventOrder::Newest, ..query };
        let page = store.events(&query, 10, query.order.start()).await.unwrap();
        let mut revisions: Vec<_> = page.items.iter().map(|logged| logged.revision.0).collect();
        revisions.reverse();
        assert_eq!((revisions.as_slice(), page.next), (expected, None), "{query:?}");
    }
}

async fn events_are_listed_in_commit_order_on_pages_of_any_size(database: Database) {
    let store = log_of(&database, 7).await;
    for size in 1..=8 {
        let (mut revisions, mut after) = (Vec::new(), Some(Revision(0)));
        while let Some(from) = after {
            let page = store.events(&every_event(), size, from).await.unwrap();
            revisions.extend(page.items.iter().map(|logged| logged.revision.0));
            after = page.next;
        }
        assert_eq!(revisions, [1, 2, 3, 4, 5, 6, 7], "pages of {size}");
        let newest = EventQuery { order: EventOrder::Newest, ..every_event() };
        let (mut revisions, mut after) = (Vec::new(), Some(newest.order.start()));
        while let Some(from) = after {
            let page = store.events(&newest, size, from).await.unwrap();
            revisions.extend(page.items.iter().map(|logged| logged.revision.0));
            after = page.next;
        }
        assert_eq!(revisions, [7, 6, 5, 4, 3, 2, 1], "pages of {size}");
    }
}

async fn pages_of_events_are_limited_in_bytes(database: Database) {
    let store = database.store().await;
    let text = |size: usize| Some(format!("{{\"description\":\"{}\"}}", "x".repeat(size)));
    for size in [10, 600_000, 600_000, 600_000, 600_000, 3_000_000, 10] {
        // The text before and the text after count.
        let large =
            AuditEvent { before: text(size), after: text(size), ..event(Action::UpdateKey, "acme", Some("key_1")) };
        store.begin().await.unwrap().commit(large).await.unwrap();
    }
    let (mut pages, mut after) = (Vec::new(), Some(Revision(0)));
    while let Some(from) = after {
        let page = store.events(&every_event(), 1_000, from).await.unwrap();
        pages.push(page.items.iter().map(|logged| logged.revision.0).collect::<Vec<_>>());
        after = page.next;
    }
    assert_eq!(pages, [vec![1, 2, 3, 4], vec![5], vec![6], vec![7]]);
}

async fn times_filter_the_events_of_an_account_whatever_the_clock_did(database: Database) {
    let store = log_of(&database, 5).await;
    for (revision, time) in (1..).zip([10, 50, 20, 40, 30]) {
        database.tamper(&format!("UPDATE audit_event SET event_time = {time} WHERE revision = {revision}")).await;
    }
    database.tamper("UPDATE audit_event SET account = 'other' WHERE revision = 4").await;
    let of_acme = EventQuery { accounts: only(&["acme"]), ..every_event() };
    for (start, end, expected) in [
        (Some(20), None, &[2, 3, 5][..]),
        (Some(20), Some(50), &[3, 5]),
        (None, Some(30), &[1, 3]),
        (Some(51), None, &[]),
    ] {
        let query = EventQuery { start: start.map(at), end: end.map(at), ..of_acme.clone() };
        let (mut revisions, mut after) = (Vec::new(), Some(Revision(0)));
        while let Some(from) = after {
            let page = store.events(&query, 1, from).await.unwrap();
            revisions.extend(page.items.iter().map(|logged| logged.revision.0));
            after = page.next;
        }
        assert_eq!(revisions, expected, "{start:?} to {end:?}");
        for accounts in [query.accounts.clone(), AccountScope::All] {
            let query = EventQuery { order: EventOrder::Newest, accounts, ..query.clone() };
            let (mut revisions, mut after) = (Vec::new(), Some(query.order.start()));
            while let Some(from) = after {
                let page = store.events(&query, 1, from).await.unwrap();
                let of_acme = page.items.iter().filter(|logged| logged.event.account.as_str() == "acme");
                revisions.extend(of_acme.map(|logged| logged.revision.0));
                after = page.next;
            }
            revisions.reverse();
            assert_eq!(revisions, expected, "{start:?} to {end:?}, the newest first");
        }
    }
}

async fn an_altered_event_is_reported(database: Database) {
    let store = log_of(&database, 5).await;
    for (change, undo) in [
        ("after_json = '{\"scopes\":[\"admin\"]}'", "after_json = '{}'"),
        ("before_json = ''", "before_json = NULL"),
        ("event_time = event_time + 1", "event_time = event_time - 1"),
        ("actor = 'Bootstrap'", "actor = 'bootstrap'"),
        ("action = 1", "action = 8"),
        ("account = 'Acme'", "account = 'acme'"),
        ("key_id = 'key_1'", "key_id = NULL"),
    ] {
        database.tamper(&format!("UPDATE audit_event SET {change} WHERE revision = 3")).await;
        assert_eq!(faults(&store).await, [altered(3)], "{change}");
        database.tamper(&format!("UPDATE audit_event SET {undo} WHERE revision = 3")).await;
        assert_eq!(faults(&store).await, [], "{undo}");
    }
    let other = database.bytes(&[1; 32]);
    database.tamper(&format!("UPDATE audit_event SET hash = {other} WHERE revision = 3")).await;
    assert!(faults(&store).await.contains(&altered(3)));
}

async fn an_unreadable_event_is_reported_once(database: Database) {
    let store = log_of(&database, 5).await;
    database.tamper("UPDATE audit_event SET action = 99 WHERE revision IN (3, 5)").await;
    assert_eq!(faults(&store).await, [altered(3), altered(5)]);
    if database.kind != Kind::MariaDb {
        // On the other databases the column pads it.
        let short = database.bytes(&[1; 31]);
        database.tamper(&format!("UPDATE audit_event SET hash = {short} WHERE revision = 3")).await;
        assert_eq!(faults(&store).await, [altered(3), altered(5)]);
    }
}

async fn a_deleted_event_is_reported(database: Database) {
    let store = log_of(&database, 5).await;
    database.tamper("DELETE FROM audit_event WHERE revision = 3").await;
    assert_eq!(faults(&store).await, [ChainError::Missing { missing: Revision(3) }]);
    database.tamper("DELETE FROM audit_event WHERE revision IN (1, 4)").await;
    assert_eq!(faults(&store).await, [1, 3, 4].map(|n| ChainError::Missing { missing: Revision(n) }));
}

async fn a_deleted_last_event_is_reported(database: Database) {
    let store = log_of(&database, 5).await;
    database.tamper("DELETE FROM audit_event WHERE revision = 5").await;
    assert_eq!(faults(&store).await, [ChainError::Missing { missing: Revision(5) }]);
}

/// Copies the event `from` to the revision `to`, as an attacker without the secret would.
async fn insert(database: &Database, from: i64, to: i64) {
    let columns = "event_time, actor, action, account, key_id, before_json, after_json, secret_version, hash";
    let sql = format!(
        "INSERT INTO audit_event (revision, {columns}) SELECT {to}, {columns} FROM audit_event WHERE revision = {from}"
    );
    database.tamper(&sql).await;
}

async fn an_inserted_event_is_reported(database: Database) {
    let store = log_of(&database, 5).await;
    insert(&database, 5, 6).await;
    let beyond = ChainError::BeyondHead { revision: Revision(6), head: Revision(5) };
    assert_eq!(faults(&store).await, [beyond]);
    database.tamper("UPDATE authority SET revision = 6").await;
    assert_eq!(faults(&store).await.first(), Some(&altered(6)), "and if the head is moved along");
}

async fn an_event_inserted_before_the_first_is_reported(database: Database) {
    let store = log_of(&database, 2).await;
    insert(&database, 1, 0).await;
    assert!(faults(&store).await.contains(&altered(0)));
}

async fn a_head_that_was_reset_is_reported(database: Database) {
    let store = log_of(&database, 5).await;
    database.tamper("UPDATE authority SET revision = 4").await;
    let beyond = ChainError::BeyondHead { revision: Revision(5), head: Revision(4) };
    assert_eq!(faults(&store).await, [ChainError::Head { head: Revision(4) }, beyond]);
    let other = database.bytes(&[1; 32]);
    database.tamper(&format!("UPDATE authority SET revision = 5, head_hash = {other}")).await;
    assert_eq!(faults(&store).await, [ChainError::Head { head: Revision(5) }]);
}

async fn a_log_truncated_with_its_head_is_reported_if_a_head_is_expected(database: Database) {
    let store = log_of(&database, 3).await;
    let earlier = store.head().await.unwrap();
    note(&store).await;
    let expected = store.head().await.unwrap();
    assert_eq!(store.verify_log(Some(expected), |_| ()).await.unwrap().faults, []);
    database.tamper("DELETE FROM audit_event WHERE revision = 4").await;
    let hash = database.bytes(&earlier.hash.0);
    database.tamper(&format!("UPDATE authority SET revision = 3, head_hash = {hash}")).await;
    assert_eq!(faults(&store).await, [], "the database alone does not reveal it");
    assert_eq!(store.verify_log(Some(earlier), |_| ()).await.unwrap().faults, []);
    let found = store.verify_log(Some(expected), |_| ()).await.unwrap().faults;
    assert_eq!(found, [ChainError::NotExpected { revision: Revision(4) }]);
}

async fn of_many_errors_the_first_are_reported_and_the_rest_counted(database: Database) {
    let store = log_of(&database, 1).await;
    let hash = database.bytes(&[7; 32]);
    let events = (2..=2_010).map(|n| format!("({n}, 0, 'caller', 1, 'acme', 1, {hash})")).collect::<Vec<_>>();
    let columns = "revision, event_time, actor, action, account, secret_version, hash";
    database.tamper(&format!("INSERT INTO audit_event ({columns}) VALUES {}", events.join(","))).await;
    database.tamper(&format!("UPDATE authority SET revision = 2010, head_hash = {hash}")).await;
    let proof = store.verify_log(None, |_| ()).await.unwrap();
    assert_eq!((proof.faults.len(), proof.unnamed, proof.checked), (1_000, 1_009, 2_010));
}

async fn a_log_is_verified_during_concurrent_writes(database: Database) {
    let store = log_of(&database, 3).await;
    let ended = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (other, ended) = (database.connect(2).await, Arc::clone(&ended));
        async move {
            for _ in 0..50 {
                note(&other).await;
            }
            ended.store(true, Ordering::Relaxed);
        }
    });
    while !ended.load(Ordering::Relaxed) {
        assert_eq!(faults(&store).await, []);
    }
    writer.await.unwrap();
    let proof = store.verify_log(None, |_| ()).await.unwrap();
    assert_eq!((proof.checked, proof.head.revision), (53, Revision(53)));
}

async fn without_the_secret_no_log_can_be_verified(database: Database) {
    log_of(&database, 2).await;
    let stranger = database.connect_with(2, ring_of(&"08".repeat(32))).await;
    assert_eq!(faults(&stranger).await, [altered(1), altered(2)]);
    let later = database.connect_with(2, ring_of(&format!("2:{}", "08".repeat(32)))).await;
    let missing = |n| ChainError::SecretVersionMissing { revision: Revision(n), version: 1 };
    assert_eq!(faults(&later).await, [missing(1), missing(2)]);
}
