//! The replicas' rows: joining, confirming, fencing, leaving.

use std::time::Duration;

use key_authority_domain::audit::ChainHash;
use key_authority_domain::id::Revision;
use key_authority_storage::Store;
use key_authority_storage::registry::{JoinRefused, Joining};
use key_authority_storage::settings::Head;

use crate::support::make::{at, join_as, joining, note, replica_id};
use crate::support::{Database, on_every_database};

on_every_database! {
    a_replica_joins_with_nothing_applied,
    a_confirmation_stores_the_applied_revision_and_nonce,
    a_confirmation_of_another_log_is_ignored,
    a_fence_removes_only_a_replica_without_a_newer_heartbeat,
    a_fenced_replica_cannot_confirm_until_it_joins_again,
    a_replica_that_leaves_is_removed_and_others_stay,
    a_join_whose_response_was_lost_can_be_retried,
    a_replica_with_another_lease_does_not_join,
    of_concurrent_fences_of_one_row_one_succeeds,
    long_builds_and_addresses_are_truncated,
}

const NONCE: [u8; 8] = [0, 0x20, 0xff, 0x5c, 0x27, 0x80, 0x20, 0];

async fn join(store: &Store, number: u8) {
    join_as(store, number, NONCE).await;
}

fn head(revision: i64) -> Head {
    Head { revision: Revision(revision), hash: ChainHash([0xfe; 32]) }
}

async fn a_replica_joins_with_nothing_applied(database: Database) {
    let store = database.store().await;
    assert_eq!(store.replicas().await.unwrap(), []);
    let before = store.now().await.unwrap();
    join(&store, 1).await;
    let after = store.now().await.unwrap();
    let rows = store.replicas().await.unwrap();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.id, row.applied, row.nonce), (replica_id(1), Revision(-1), NONCE));
    assert_eq!((row.build.as_str(), row.address.as_str()), ("build", "127.0.0.1:50051"));
    let times = [before, row.join_time, row.seen_time, after];
    assert!(times.is_sorted(), "by the database's clock: {times:?}");
}

async fn a_confirmation_stores_the_applied_revision_and_nonce(database: Database) {
    let store = database.store().await;
    join(&store, 1).await;
    join(&store, 2).await;
    note(&store).await;
    let head = store.head().await.unwrap();
    assert!(store.confirm(replica_id(1), head, [1; 8]).await.unwrap());
    let rows = store.replicas().await.unwrap();
    let row = |number| rows.iter().find(|row| row.id == replica_id(number)).unwrap();
    assert_eq!((row(1).applied, row(1).nonce), (head.revision, [1; 8]));
    assert!(row(1).seen_time >= row(1).join_time && row(1).join_time > at(0));
    assert_eq!((row(2).applied, row(2).nonce), (Revision(-1), NONCE));
    assert!(store.confirm(replica_id(1), head, [1; 8]).await.unwrap(), "a row that stays as it is is still there");
}

async fn a_confirmation_of_another_log_is_ignored(database: Database) {
    let store = database.store().await;
    join(&store, 1).await;
    let applied = async |head| {
        store.confirm(replica_id(1), head, [1; 8]).await.unwrap();
        store.replicas().await.unwrap()[0].applied
    };
    let empty = store.head().await.unwrap();
    assert_eq!(applied(empty).await, Revision(0));
    note(&store).await;
    note(&store).await;
    let true_head = store.head().await.unwrap();
    assert_eq!(applied(true_head).await, true_head.revision);
    assert_eq!(applied(Head { hash: empty.hash, ..true_head }).await, Revision(-1), "an event that was another");
    assert_eq!(applied(Head { revision: Revision(9), ..true_head }).await, Revision(-1), "an event that is no more");
}

async fn a_fence_removes_only_a_replica_without_a_newer_heartbeat(database: Database) {
    let store = database.store().await;
    join(&store, 1).await;
    join(&store, 2).await;
    store.confirm(replica_id(1), head(1), [1; 8]).await.unwrap();
    for other in [NONCE, [0; 8], [1, 1, 1, 1, 1, 1, 1, 0]] {
        assert!(!store.fence(replica_id(1), other).await.unwrap(), "{other:?}");
    }
    assert!(!store.fence(replica_id(3), [1; 8]).await.unwrap());
    assert_eq!(store.replicas().await.unwrap().len(), 2);
    assert!(store.fence(replica_id(1), [1; 8]).await.unwrap());
    assert!(!store.fence(replica_id(1), [1; 8]).await.unwrap());
    assert_eq!(store.replicas().await.unwrap().len(), 1);
}

async fn a_fenced_replica_cannot_confirm_until_it_joins_again(database: Database) {
    let store = database.store().await;
    assert!(!store.confirm(replica_id(1), head(1), [1; 8]).await.unwrap(), "it never joined");
    join(&store, 1).await;
    assert!(store.fence(replica_id(1), NONCE).await.unwrap());
    assert!(!store.confirm(replica_id(1), head(1), [1; 8]).await.unwrap());
    assert_eq!(store.replicas().await.unwrap(), []);
    join(&store, 2).await;
    assert!(store.confirm(replica_id(2), head(1), [1; 8]).await.unwrap());
}

async fn a_replica_that_leaves_is_removed_and_others_stay(database: Database) {
    let store = database.store().await;
    join(&store, 1).await;
    join(&store, 2).await;
    store.leave(replica_id(1)).await.unwrap();
    store.leave(replica_id(1)).await.unwrap();
    let ids: Vec<_> = store.replicas().await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(ids, [replica_id(2)]);
}

async fn a_join_whose_response_was_lost_can_be_retried(database: Database) {
    let store = database.store().await;
    join(&store, 1).await;
    join_as(&store, 1, [9; 8]).await;
    let nonces: Vec<_> = store.replicas().await.unwrap().into_iter().map(|row| row.nonce).collect();
    assert_eq!(nonces, [[9; 8]]);
}

async fn a_replica_with_another_lease_does_not_join(database: Database) {
    let store = database.store().await;
    let lease = Duration::from_secs(20);
    let stored = Duration::from_secs(10);
    assert_eq!(
        store.join(Joining { lease, ..joining(1, NONCE) }).await.unwrap(),
        Err(JoinRefused::OtherLease { stored })
    );
    assert_eq!(store.replicas().await.unwrap(), []);
    join(&store, 1).await;
}

async fn of_concurrent_fences_of_one_row_one_succeeds(database: Database) {
    let stores = [database.store().await, database.connect(5).await];
    join(&stores[0], 1).await;
    let mut mutators = tokio::task::JoinSet::new();
    for mutator in 0..8 {
        let store = stores[mutator % 2].clone();
        mutators.spawn(async move { store.fence(replica_id(1), NONCE).await.unwrap() });
    }
    assert_eq!(mutators.join_all().await.into_iter().filter(|hit| *hit).count(), 1);
}

async fn long_builds_and_addresses_are_truncated(database: Database) {
    let store = database.store().await;
    let (build, address) = ("🦀".repeat(65), "🦀".repeat(256));
    store.join(Joining { build: &build, address: &address, ..joining(1, NONCE) }).await.unwrap().unwrap();
    let row = store.replicas().await.unwrap().remove(0);
    assert_eq!((row.build, row.address), ("🦀".repeat(64), "🦀".repeat(255)));
}
