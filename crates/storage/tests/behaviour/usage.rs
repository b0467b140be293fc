//! Key usage: it only advances, and does not block changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use key_authority_domain::audit::Action;
use key_authority_domain::id::Revision;
use key_authority_domain::key::{Key, Usage};
use key_authority_storage::Store;
use key_authority_storage::usage::UsageDelta;
use tokio::task::JoinSet;

use crate::support::make::{account, at, digest, event, key, key_id, put_account, put_key, put_keys, secret};
use crate::support::{Database, Kind, on_every_database};

on_every_database! {
    counts_add_up_and_times_only_advance,
    usage_of_deleted_keys_is_skipped,
    usage_of_a_deleted_key_is_not_added_to_a_new_key_with_its_id,
    a_change_preserves_the_usage,
    counts_of_two_processes_add_up_without_deadlock,
    keys_can_be_deleted_while_their_usage_is_written,
    a_key_can_be_changed_while_its_usage_is_written,
}

/// A use of a key that was made right after its account.
fn delta(key: &str, version: u32, count: u32, time: i64) -> UsageDelta {
    let (digest, create_revision) = (digest(key, version), Revision(2));
    UsageDelta { key_id: key_id(key), digest, create_revision, count, last_used_time: at(time) }
}

async fn record(store: &Store, deltas: impl IntoIterator<Item = UsageDelta>) {
    let mut deltas: Vec<_> = deltas.into_iter().collect();
    store.record_usage(&mut deltas).await.unwrap();
}

async fn counts_add_up_and_times_only_advance(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let mut two = key("key_1", "acme");
    two.secrets.push(secret("key_1", 2));
    put_key(&store, two).await;
    record(&store, [delta("key_1", 2, 3, 2_000), delta("key_1", 1, 1, 1_000)]).await;
    record(&store, [delta("key_1", 1, 1, 500), delta("key_1", 2, 0, 2_000), delta("key_1", 2, 2, 1_999)]).await;
    let read = store.key(&key_id("key_1")).await.unwrap().unwrap();
    assert_eq!(read.usage, Usage { last_used_time: Some(at(2_000)), use_count: 7 });
    let times: Vec<_> = read.secrets.iter().map(|secret| secret.last_used_time).collect();
    assert_eq!(times, [Some(at(1_000)), Some(at(2_000))]);
    assert_eq!(store.head().await.unwrap().revision.0, 2, "usage is no change");
}

async fn usage_of_deleted_keys_is_skipped(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    put_key(&store, key("key_1", "acme")).await;
    record(&store, []).await;
    record(&store, [delta("gone", 1, 1, 1), delta("key_1", 9, 1, 1), delta("KEY_1", 1, 1, 1)]).await;
    let read = store.key(&key_id("key_1")).await.unwrap().unwrap();
    assert_eq!(read.usage, Usage { last_used_time: Some(at(1)), use_count: 1 });
    assert_eq!(read.secrets[0].last_used_time, None);
}

async fn usage_of_a_deleted_key_is_not_added_to_a_new_key_with_its_id(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    put_key(&store, key("key_1", "acme")).await;
    let late = delta("key_1", 1, 5, 9);
    let tx = store.begin().await.unwrap();
    tx.delete_key(&key_id("key_1")).await.unwrap();
    tx.commit(event(Action::DeleteKey, "acme", Some("key_1"))).await.unwrap();
    put_key(&store, Key { secrets: vec![secret("another", 1)], ..key("key_1", "acme") }).await;
    record(&store, [late]).await;
    let read = store.key(&key_id("key_1")).await.unwrap().unwrap();
    assert_eq!((read.usage, read.secrets[0].last_used_time), (Usage::default(), None));
}

async fn a_change_preserves_the_usage(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let mut stale = put_key(&store, key("key_1", "acme")).await;
    record(&store, [delta("key_1", 1, 5, 9)]).await;
    let tx = store.begin().await.unwrap();
    stale.disabled = true;
    tx.update_key_and_secrets(&mut stale).await.unwrap();
    tx.commit(event(Action::DisableKey, "acme", Some("key_1"))).await.unwrap();
    let read = store.key(&stale.id).await.unwrap().unwrap();
    assert_eq!((read.disabled, read.usage.use_count, read.usage.last_used_time), (true, 5, Some(at(9))));
    assert_eq!(read.secrets[0].last_used_time, Some(at(9)));
}

async fn counts_of_two_processes_add_up_without_deadlock(database: Database) {
    const KEYS: u32 = 230;
    let stores = [database.store().await, database.connect(5).await];
    put_account(&stores[0], account("acme")).await;
    put_keys(&stores[0], (0..KEYS).map(|n| key(&format!("key-{n}"), "acme")).collect()).await;
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let store = stores[writer % 2].clone();
        writers.spawn(async move {
            let deltas = (0..KEYS).map(|n| delta(&format!("key-{n}"), 1, n + 1, 7));
            // Each process has another order.
            let mut deltas: Vec<_> = deltas.collect();
            deltas.rotate_left(writer * 50);
            if writer % 2 == 0 {
                deltas.reverse();
            }
            store.record_usage(&mut deltas).await.unwrap();
        });
    }
    writers.join_all().await;
    for n in [0, 1, 199, 200, KEYS - 1] {
        let read = stores[0].key(&key_id(&format!("key-{n}"))).await.unwrap().unwrap();
        assert_eq!(read.usage, Usage { last_used_time: Some(at(7)), use_count: 4 * u64::from(n + 1) });
    }
}

async fn keys_can_be_deleted_while_their_usage_is_written(database: Database) {
    const KEYS: usize = 60;
    let first = database.store().await;
    // SQLite has only one process.
    let second = if database.kind == Kind::Sqlite { first.clone() } else { database.connect(5).await };
    let stores = [first, second];
    put_account(&stores[0], account("acme")).await;
    let ids: Vec<_> = (0..KEYS).map(|n| format!("key-{n:03}")).collect();
    put_keys(&stores[0], ids.iter().map(|id| key(id, "acme")).collect()).await;
    let deleted = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for store in stores.clone() {
        let (ids, deleted) = (ids.clone(), Arc::clone(&deleted));
        writers.spawn(async move {
            for round in 0.. {
                record(&store, ids.iter().map(|id| delta(id, 1, 1, round))).await;
                if deleted.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
    }
    for id in &ids {
        let tx = stores[0].begin().await.unwrap();
        tx.delete_key(&key_id(id)).await.unwrap();
        tx.commit(event(Action::DeleteKey, "acme", Some(id))).await.unwrap();
    }
    deleted.store(true, Ordering::Relaxed);
    writers.join_all().await;
    assert!(stores[0].rows(&[], &[key_id("key-000"), key_id("key-059")]).await.unwrap().keys.is_empty());
}

async fn a_key_can_be_changed_while_its_usage_is_written(database: Database) {
    let stores = [database.store().await, database.connect(5).await];
    put_account(&stores[0], account("acme")).await;
    put_key(&stores[0], key("key_1", "acme")).await;
    // SQLite has one writer at a time: the usage is written before the change begins.
    if database.kind == Kind::Sqlite {
        record(&stores[1], [delta("key_1", 1, 1, 1)]).await;
    }
    let tx = stores[0].begin().await.unwrap();
    let mut used = tx.key(&key_id("key_1")).await.unwrap().unwrap();
    if database.kind != Kind::Sqlite {
        record(&stores[1], [delta("key_1", 1, 1, 1)]).await;
    }
    used.revoke("leaked".into(), tx.now());
    tx.update_key_and_secrets(&mut used).await.unwrap();
    tx.commit(event(Action::RevokeKey, "acme", Some("key_1"))).await.unwrap();
    let read = stores[1].key(&used.id).await.unwrap().unwrap();
    assert_eq!((read.usage.use_count, read.revocation), (1, used.revocation));
}
