//! Changes: event and revision, rollback on drop, replayed requests and concurrent writers.

use key_authority_domain::account::{Account, CountedKeys, KeyPolicy};
use key_authority_domain::audit::{Action, AuditEvent, ChainHash};
use key_authority_domain::id::Revision;
use key_authority_storage::audit_read::{EventOrder, EventQuery};
use key_authority_storage::page::AccountScope;
use key_authority_storage::read_tx::RequestIdReused;
use key_authority_storage::{StorageError, Store};
use tokio::task::JoinSet;

use crate::support::make::{
    account, account_id, actor, at, date_account, date_key, digest, event, key, key_id, mark, note, put_account,
    put_key,
};
use crate::support::{Database, on_every_database};

on_every_database! {
    a_change_commits_with_its_event_and_moves_the_head,
    a_dropped_change_changes_nothing,
    a_write_without_an_event_is_rolled_back,
    an_update_sets_revision_and_time,
    fifty_writers_of_two_processes_leave_no_gap_and_never_exceed_max_keys,
    a_follower_of_the_feed_sees_every_revision_once_and_in_order,
    a_repeated_request_is_found_only_by_its_actor,
    a_repeated_request_is_done_once_by_two_processes,
    one_request_cannot_have_two_events,
    reads_in_a_change_see_its_earlier_writes,
    a_read_transaction_is_consistent_and_does_not_wait_for_changes,
}

pub(crate) fn every_event() -> EventQuery {
    let (accounts, order) = (AccountScope::All, EventOrder::Oldest);
    EventQuery { accounts, key_id: None, actor: None, actions: vec![], start: None, end: None, order }
}

async fn a_change_commits_with_its_event_and_moves_the_head(database: Database) {
    let store = database.store().await;
    let head = store.head().await.unwrap();
    assert_eq!((head.revision, head.hash), (Revision(0), ChainHash::default()));

    let before = store.now().await.unwrap();
    put_account(&store, account("acme")).await;
    let tx = store.begin().await.unwrap();
    assert_eq!(tx.revision(), Revision(2));
    let mut key = key("key_1", "acme");
    date_key(&tx, &mut key);
    tx.insert_key(&key).await.unwrap();
    let written = AuditEvent {
        actor: actor("key_of_a_caller"),
        request: Some(mark("request-1", 5)),
        before: Some("{\"name\":\"früher\"}".into()),
        after: None,
        ..event(Action::UpdateKey, "acme", Some("key_1"))
    };
    let committed = tx.commit(written.clone()).await.unwrap();
    let after = store.now().await.unwrap();

    assert_eq!(committed.revision, Revision(2));
    assert!((before..=after).contains(&committed.time), "{before} <= {} <= {after}", committed.time);
    let events = store.events(&every_event(), 10, Revision(0)).await.unwrap().items;
    assert_eq!(events.len(), 2);
    assert_eq!((&events[1].event, events[1].revision, events[1].time), (&written, Revision(2), committed.time));
    assert_eq!(events[0].event, event(Action::CreateAccount, "acme", None));
    let head = store.head().await.unwrap();
    assert_eq!((head.revision, head.hash), (Revision(2), events[1].hash));
    let proof = store.verify_log(None, |_| ()).await.unwrap();
    assert_eq!((proof.checked, proof.head.revision, proof.faults), (2, Revision(2), vec![]));
}

async fn a_dropped_change_changes_nothing(database: Database) {
    let store = database.store().await;
    let kept = put_account(&store, account("kept")).await;
    let head = store.head().await.unwrap();

    let tx = store.begin().await.unwrap();
    let mut lost = account("lost");
    date_account(&tx, &mut lost);
    tx.insert_account(&lost).await.unwrap();
    let mut changed = kept.clone();
    changed.suspended = true;
    tx.update_account(&mut changed).await.unwrap();
    drop(tx);

    assert_eq!(store.account(&lost.id).await.unwrap(), None);
    assert_eq!(store.account(&kept.id).await.unwrap(), Some(kept));
    assert_eq!(store.head().await.unwrap(), head);
    assert_eq!(note(&store).await.revision, head.revision.next(), "the revision is not used");
}

async fn a_write_without_an_event_is_rolled_back(database: Database) {
    let store = database.store().await;
    let tx = store.begin().await.unwrap();
    let mut lost = account("lost");
    date_account(&tx, &mut lost);
    tx.insert_account(&lost).await.unwrap();
    let error = tx.commit_unchanged().await.unwrap_err();
    assert!(matches!(error, StorageError::Unaudited), "{error:?}");
    assert_eq!(store.account(&lost.id).await.unwrap(), None);
}

async fn an_update_sets_revision_and_time(database: Database) {
    let store = database.store().await;
    let created = put_account(&store, account("acme")).await;
    let tx = store.begin().await.unwrap();
    let mut changed = Account { display_name: "Other".into(), suspended: true, ..created.clone() };
    tx.update_account(&mut changed).await.unwrap();
    let committed = tx.commit(event(Action::UpdateAccount, "acme", None)).await.unwrap();
    assert_eq!((changed.revision, changed.update_time), (committed.revision, committed.time));
    assert_eq!((changed.create_revision, changed.create_time), (created.create_revision, created.create_time));
    assert_eq!(store.account(&changed.id).await.unwrap(), Some(changed));
}

async fn fifty_writers_of_two_processes_leave_no_gap_and_never_exceed_max_keys(database: Database) {
    const MAX_KEYS: u32 = 20;
    let stores = [database.store().await, database.connect(5).await];
    let policy = KeyPolicy { max_keys: Some(MAX_KEYS), ..KeyPolicy::default() };
    put_account(&stores[0], Account { policy, ..account("acme") }).await;

    let mut writers = JoinSet::new();
    for writer in 0..50 {
        let store = stores[writer % 2].clone();
        writers.spawn(async move { create_key_if_there_is_room(&store, &format!("key_{writer}")).await });
    }
    let mut revisions: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
    revisions.sort();
    let expected: Vec<_> = (2..2 + i64::from(MAX_KEYS)).map(Revision).collect();
    assert_eq!(revisions, expected);

    let tx = stores[1].begin().await.unwrap();
    assert_eq!(
        tx.count_towards_limit(&account_id("acme"), CountedKeys::All, 1_000).await.unwrap(),
        u64::from(MAX_KEYS)
    );
    drop(tx);
    let events = stores[1].events(&every_event(), 100, Revision(0)).await.unwrap().items;
    assert!(events.is_sorted_by_key(|logged| logged.time), "revision order is commit order");
    let proof = stores[1].verify_log(None, |_| ()).await.unwrap();
    assert_eq!((proof.checked, proof.faults), (21, vec![]));
}

async fn create_key_if_there_is_room(store: &Store, id: &str) -> Option<Revision> {
    let tx = store.begin().await.unwrap();
    let account = tx.account(&account_id("acme")).await.unwrap().unwrap();
    let max = account.policy.max_keys.unwrap();
    let count = tx.count_towards_limit(&account.id, account.policy.counted, max).await.unwrap();
    account.policy.check_room(count).ok()?;
    let mut key = key(id, "acme");
    date_key(&tx, &mut key);
    tx.insert_key(&key).await.unwrap();
    Some(tx.commit(event(Action::CreateKey, "acme", Some(id))).await.unwrap().revision)
}

async fn a_follower_of_the_feed_sees_every_revision_once_and_in_order(database: Database) {
    const CHANGES: i64 = 60;
    let stores = [database.store().await, database.connect(5).await];
    let follower = database.connect(1).await;
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let store = stores[writer % 2].clone();
        writers.spawn(async move {
            for _ in 0..CHANGES / 4 {
                note(&store).await;
            }
        });
    }
    let mut applied = Revision(0);
    while applied < Revision(CHANGES) {
        let feed = follower.feed(applied).await.unwrap();
        let fresh: Vec<_> = feed.events.iter().filter(|event| event.revision > applied).collect();
        for event in &fresh {
            assert_eq!(event.revision, applied.next());
            applied = event.revision;
        }
        assert_eq!(feed.head.revision, applied, "the head belongs to the same instant as the events");
        assert!(feed.events.last().is_none_or(|last| last.hash == feed.head.hash));
    }
    writers.join_all().await;
}

async fn a_repeated_request_is_found_only_by_its_actor(database: Database) {
    let store = database.store().await;
    let tx = store.begin().await.unwrap();
    assert_eq!(tx.find_replayed(&actor("caller"), &mark("request", 1)).await.unwrap(), Ok(None));
    let written = AuditEvent {
        actor: actor("caller"),
        request: Some(mark("request", 1)),
        ..event(Action::CreateAccount, "acme", None)
    };
    let committed = tx.commit(written.clone()).await.unwrap();

    let tx = store.begin().await.unwrap();
    let seen = tx.find_replayed(&actor("caller"), &mark("request", 1)).await.unwrap().unwrap().unwrap();
    assert_eq!((seen.revision, seen.event), (committed.revision, written));
    assert_eq!(tx.find_replayed(&actor("caller"), &mark("request", 2)).await.unwrap(), Err(RequestIdReused));
    for (other, id) in [("other", "request"), ("Caller", "request"), ("caller", "Request"), ("caller", "request1")] {
        assert_eq!(tx.find_replayed(&actor(other), &mark(id, 1)).await.unwrap(), Ok(None), "{other} {id}");
    }
}

async fn a_repeated_request_is_done_once_by_two_processes(database: Database) {
    let stores = [database.store().await, database.connect(5).await];
    let mut callers = JoinSet::new();
    for caller in 0..20 {
        let store = stores[caller % 2].clone();
        callers.spawn(async move {
            let tx = store.begin().await.unwrap();
            if let Some(seen) = tx.find_replayed(&actor("caller"), &mark("request", 1)).await.unwrap().unwrap() {
                return seen.revision;
            }
            put_in(tx, "caller").await
        });
    }
    assert_eq!(callers.join_all().await, [Revision(1); 20]);
    assert_eq!(stores[0].head().await.unwrap().revision, Revision(1));
}

async fn put_in(tx: key_authority_storage::write_tx::WriteTx<'_>, caller: &str) -> Revision {
    let mut created = account("acme");
    date_account(&tx, &mut created);
    tx.insert_account(&created).await.unwrap();
    let written = AuditEvent {
        actor: actor(caller),
        request: Some(mark("request", 1)),
        ..event(Action::CreateAccount, "acme", None)
    };
    tx.commit(written).await.unwrap().revision
}

async fn one_request_cannot_have_two_events(database: Database) {
    let store = database.store().await;
    let written = AuditEvent { request: Some(mark("request", 1)), ..event(Action::RevealToken, "acme", None) };
    store.begin().await.unwrap().commit(written.clone()).await.unwrap();
    let head = store.head().await.unwrap();

    let tx = store.begin().await.unwrap();
    tx.insert_account(&account("acme")).await.unwrap();
    let error = tx.commit(written).await.unwrap_err();
    assert!(matches!(error, StorageError::Refused(_)), "{error:?}");
    assert_eq!(store.head().await.unwrap(), head);
    assert_eq!(store.account(&account_id("acme")).await.unwrap(), None);
    assert_eq!(note(&store).await.revision, Revision(2));
}

async fn reads_in_a_change_see_its_earlier_writes(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let stored = put_key(&store, key("key_1", "acme")).await;
    let tx = store.begin().await.unwrap();
    let mut changed = stored.clone();
    changed.disabled = true;
    tx.update_key(&mut changed).await.unwrap();
    tx.insert_key(&key("key_2", "acme")).await.unwrap();
    assert_eq!(tx.key(&stored.id).await.unwrap(), Some(changed));
    assert_eq!(tx.count_towards_limit(&stored.account, CountedKeys::All, 1_000).await.unwrap(), 2);
    assert_eq!(tx.count_towards_limit(&stored.account, CountedKeys::Active, 1_000).await.unwrap(), 1);
    assert_eq!(store.key(&stored.id).await.unwrap(), Some(stored), "and nobody else does");
    assert_eq!(store.key(&key_id("key_2")).await.unwrap(), None);
    assert!(tx.now() > at(0));
}

async fn a_read_transaction_is_consistent_and_does_not_wait_for_changes(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    put_key(&store, key("old", "acme")).await;
    let tx = store.begin().await.unwrap();
    let mut new = key("new", "acme");
    date_key(&tx, &mut new);
    tx.insert_key(&new).await.unwrap();

    let reading = store.begin_reading().await.unwrap();
    assert_eq!(reading.revision(), tx.revision());
    assert!(reading.now() >= tx.now());
    let committed = tx.commit(event(Action::CreateKey, "acme", Some("new"))).await.unwrap();
    let digests = [digest("old", 1), digest("new", 1)];
    assert_eq!(reading.holders(&digests).await.unwrap().keys().collect::<Vec<_>>(), [&digests[0]]);
    assert_eq!(reading.count_towards_limit(&account_id("acme"), CountedKeys::All, 1_000).await.unwrap(), 1);
    drop(reading);

    let later = store.begin_reading().await.unwrap();
    assert_eq!((later.revision(), later.holders(&digests).await.unwrap().len()), (committed.revision.next(), 2));
}
