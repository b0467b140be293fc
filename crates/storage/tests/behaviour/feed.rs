//! The reads of a replica: the log from a revision, the rows that it names, and the snapshot.

use std::fmt::Write;
use std::time::Duration;

use key_authority_domain::audit::Action;
use key_authority_domain::id::Revision;
use key_authority_storage::Store;
use key_authority_storage::feed::{ChangedRows, FEED_LIMIT};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::support::make::{account, account_id, event, key, key_id, large_key, note, put_account, put_key, put_keys};
use crate::support::{Database, on_every_database};

on_every_database! {
    the_feed_starts_at_the_requested_revision,
    the_feed_of_an_empty_log_has_a_head_and_no_events,
    an_event_with_an_unknown_action_is_followed,
    the_feed_is_limited_and_continues_where_it_ended,
    the_feed_contains_the_database_clock,
    deleted_rows_are_left_out,
    a_snapshot_is_consistent_during_concurrent_writes,
    a_snapshot_reads_every_row_of_many_batches,
    the_batches_of_a_snapshot_are_limited_in_bytes,
    the_feed_ends_before_too_large_keys_and_continues_with_them,
}

async fn the_feed_starts_at_the_requested_revision(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    put_key(&store, key("key_1", "acme")).await;
    put_account(&store, account("other")).await;
    let head = store.head().await.unwrap();
    for (from, expected) in [(-1, &[1, 2, 3][..]), (0, &[1, 2, 3]), (1, &[1, 2, 3]), (2, &[2, 3]), (3, &[3]), (4, &[])]
    {
        let feed = store.feed(Revision(from)).await.unwrap();
        let revisions: Vec<_> = feed.events.iter().map(|event| event.revision.0).collect();
        assert_eq!(revisions, expected, "from {from}");
        assert_eq!(feed.head, head, "from {from}");
    }
    let events = store.feed(Revision(1)).await.unwrap().events;
    assert_eq!((&events[0].account, &events[0].key_id), (&account_id("acme"), &None));
    assert_eq!((&events[1].account, &events[1].key_id), (&account_id("acme"), &Some(key_id("key_1"))));
    assert_eq!(events[2].hash, head.hash);
}

async fn the_feed_of_an_empty_log_has_a_head_and_no_events(database: Database) {
    let store = database.store().await;
    let feed = store.feed(Revision(0)).await.unwrap();
    assert_eq!((feed.head, feed.events), (store.head().await.unwrap(), vec![]));
}

/// A newer build may write actions that this build does not know. Replicas of this build follow them.
async fn an_event_with_an_unknown_action_is_followed(database: Database) {
    let store = database.store().await;
    let accepts = async || {
        let events = store.feed(Revision(1)).await.unwrap().events;
        events.iter().map(|event| event.accepts_restore).collect::<Vec<_>>()
    };
    store.begin().await.unwrap().commit(event(Action::RevealToken, "acme", Some("key_1"))).await.unwrap();
    assert!(store.acceptances().await.unwrap().is_empty());
    let accepted = store.begin().await.unwrap().commit(event(Action::AcceptRestore, "system", None)).await.unwrap();
    assert_eq!(accepts().await, [false, true]);
    database.tamper("UPDATE audit_event SET action = 99 WHERE revision = 1").await;
    assert_eq!(accepts().await, [false, true]);
    let hash = store.feed(accepted.revision).await.unwrap().events[0].hash;
    assert_eq!(store.acceptances().await.unwrap().into_iter().collect::<Vec<_>>(), [hash]);
}

async fn the_feed_is_limited_and_continues_where_it_ended(database: Database) {
    let store = database.store().await;
    let (limit, hash) = (i64::try_from(FEED_LIMIT).unwrap(), database.bytes(&[9; 32]));
    let mut sql = String::from(
        "INSERT INTO audit_event (revision, event_time, actor, action, account, secret_version, hash) VALUES ",
    );
    for revision in 1..=limit + 5 {
        let comma = if revision == 1 { "" } else { "," };
        let _ = write!(sql, "{comma} ({revision}, 0, 'caller', 1, 'acme', 1, {hash})");
    }
    database.tamper(&sql).await;
    let first = store.feed(Revision(1)).await.unwrap().events;
    assert_eq!((first.len(), first.last().unwrap().revision), (1000, Revision(limit)));
    assert!(first.is_sorted_by_key(|event| event.revision));
    let rest = store.feed(first.last().unwrap().revision).await.unwrap().events;
    assert_eq!((rest[0].revision, rest.len()), (Revision(limit), 6));
}

async fn the_feed_contains_the_database_clock(database: Database) {
    let store = database.store().await;
    let before = store.now().await.unwrap();
    let feed = store.feed(Revision(0)).await.unwrap();
    let after = store.now().await.unwrap();
    assert!((before..=after).contains(&feed.now), "{before} <= {} <= {after}", feed.now);
    let year_2025 = 1_735_689_600_000_000;
    assert!(before.micros() > year_2025 && after.since(before) < Duration::from_secs(10), "{before}, {after}");
}

async fn deleted_rows_are_left_out(database: Database) {
    let store = database.store().await;
    let there = put_account(&store, account("acme")).await;
    let (one, two) = (put_key(&store, key("key_1", "acme")).await, put_key(&store, key("key_2", "acme")).await);
    let asked = [two.id.clone(), key_id("gone"), one.id.clone(), two.id.clone()];
    let mut rows = store.rows(&[account_id("gone"), there.id.clone()], &asked).await.unwrap();
    rows.keys.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!((rows.accounts, rows.keys), (vec![there], vec![one, two]));
    let none = store.rows(&[], &[]).await.unwrap();
    assert!(none.accounts.is_empty() && none.keys.is_empty());
}

/// The content of a snapshot. `meanwhile` runs after its first batch.
async fn snapshot(store: &Store, meanwhile: impl Future<Output = ()>) -> (Revision, ChangedRows) {
    let (mut all, mut meanwhile) = (ChangedRows::default(), Some(Box::pin(meanwhile)));
    let head = store
        .snapshot(|rows| {
            all.accounts.extend(rows.accounts);
            all.keys.extend(rows.keys);
            if let Some(work) = meanwhile.take() {
                block_in_place(|| Handle::current().block_on(work));
            }
        })
        .await
        .unwrap();
    all.accounts.sort_by(|a, b| a.id.cmp(&b.id));
    all.keys.sort_by(|a, b| a.id.cmp(&b.id));
    (head.revision, all)
}

async fn a_snapshot_is_consistent_during_concurrent_writes(database: Database) {
    let (store, other) = (database.store().await, database.connect(5).await);
    let acme = put_account(&store, account("acme")).await;
    let keys = put_keys(&store, vec![key("key_1", "acme"), key("key_2", "acme")]).await;
    let head = store.head().await.unwrap();
    let (revision, rows) = snapshot(&store, async {
        put_account(&other, account("new")).await;
        put_key(&other, key("key_3", "new")).await;
        let tx = other.begin().await.unwrap();
        let mut changed = tx.key(&key_id("key_1")).await.unwrap().unwrap();
        changed.revoke(String::new(), tx.now());
        tx.update_key(&mut changed).await.unwrap();
        tx.delete_key(&key_id("key_2")).await.unwrap();
        tx.commit(event(Action::RevokeKey, "acme", Some("key_1"))).await.unwrap();
    })
    .await;
    assert_eq!((revision, rows.accounts, rows.keys), (head.revision, vec![acme], keys));

    let (revision, rows) = snapshot(&store, async { _ = note(&other).await }).await;
    let ids: Vec<_> = rows.keys.iter().map(|key| key.id.as_str()).collect();
    assert_eq!((revision, rows.accounts.len(), ids), (Revision(5), 2, vec!["key_1", "key_3"]));
}

async fn the_batches_of_a_snapshot_are_limited_in_bytes(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    // Three keys of 1.2 MB fit in 4 MiB.
    let large = (0..7).map(|number| large_key(&format!("large-{number}"), "acme", 1_200));
    let keys =
        put_keys(&store, large.chain([large_key("m-huge", "acme", 5_000), key("n-small", "acme")]).collect()).await;
    let mut batches = Vec::new();
    store.snapshot(|rows| batches.push(rows.keys)).await.unwrap();
    batches.retain(|batch| !batch.is_empty());
    let lengths: Vec<_> = batches.iter().map(Vec::len).collect();
    assert_eq!(lengths, [3, 3, 1, 1, 1]);
    assert_eq!(batches.concat(), keys);
}

async fn the_feed_ends_before_too_large_keys_and_continues_with_them(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    for number in 0..5 {
        put_key(&store, large_key(&format!("large-{number}"), "acme", 1_200)).await;
    }
    for number in 0..2 {
        put_key(&store, large_key(&format!("huge-{number}"), "acme", 5_000)).await;
    }
    // A key that is named again is read once.
    for _ in 0..5 {
        store.begin().await.unwrap().commit(event(Action::RevealToken, "acme", Some("huge-1"))).await.unwrap();
    }
    let head = store.head().await.unwrap().revision;
    let (mut reads, mut applied) = (Vec::new(), Revision(1));
    while applied < head {
        let events = store.feed(applied).await.unwrap().events;
        reads.push(events.iter().map(|event| event.revision.0).collect::<Vec<_>>());
        applied = events.last().unwrap().revision;
    }
    assert_eq!(reads, [vec![1, 2, 3, 4], vec![4, 5, 6], vec![6, 7], vec![7, 8, 9, 10, 11, 12, 13]]);
}

async fn a_snapshot_reads_every_row_of_many_batches(database: Database) {
    const KEYS: usize = 5_003;
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    for from in (0..KEYS).step_by(1_000) {
        let (mut keys, mut secrets) = (Vec::new(), Vec::new());
        for n in from..KEYS.min(from + 1_000) {
            // Upper and lower case, which databases sort differently.
            let id = if n % 2 == 0 { format!("k{n}") } else { format!("K{n}") };
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            let (no, digest) =
                (if database.bytes(&[]).starts_with('x') { "0" } else { "false" }, database.bytes(&digest));
            keys.push(format!("('{id}', 'acme', '', '', '[]', {no}, '[]', '[]', '{{}}', {no}, 0, 0, 'a', 1, 1, 0)"));
            secrets.push(format!("('{id}', 1, {digest}, 1, 'hint', 0)"));
        }
        let columns = "id, account, display_name, description, scopes, all_projects, projects, networks, labels, disabled, \
                       create_time, update_time, created_by, create_revision, revision, use_count";
        database.tamper(&format!("INSERT INTO api_key ({columns}) VALUES {}", keys.join(","))).await;
        let columns = "key_id, version, digest, secret_version, hint, create_time";
        database.tamper(&format!("INSERT INTO api_key_secret ({columns}) VALUES {}", secrets.join(","))).await;
    }
    let (_, rows) = snapshot(&store, async { _ = note(&store).await }).await;
    assert_eq!((rows.accounts.len(), rows.keys.len()), (1, KEYS));
    let mut ids: Vec<_> = rows.keys.into_iter().map(|key| key.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), KEYS, "each key once");
}
