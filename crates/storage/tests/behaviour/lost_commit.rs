//! Lost responses to COMMIT: the change is committed once or not at all, and the caller learns which.

use key_authority_domain::audit::Action;
use key_authority_domain::id::Revision;
use key_authority_domain::key::Usage;
use key_authority_storage::usage::UsageDelta;
use key_authority_storage::{StorageError, Store};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::edges::barrier;
use crate::support::make::{
    account, account_id, at, date_account, digest, event, key, key_id, note, put_account, put_key, ring,
};
use crate::support::proxy::{Fate, Proxy};
use crate::support::{Database, is_away, on_database_servers};

on_database_servers! {
    a_commit_that_never_arrived_is_reported_as_failed,
    a_commit_that_arrived_is_reported_with_its_outcome,
    a_commit_whose_response_is_lost_is_reported_as_committed,
    a_commit_over_a_hanging_connection_is_reported_as_failed_and_releases_its_lock,
    a_commit_whose_response_hangs_is_reported_as_committed,
    a_commit_is_reported_as_unknown_if_its_outcome_cannot_be_read,
    usage_whose_commit_lost_its_response_is_counted_again,
}

const TRIALS: u32 = 50;

/// A proxy, a store that uses it, and a store with a direct connection.
async fn link(database: &Database) -> (Proxy, Store, Store) {
    let direct = database.store().await;
    let proxy = Proxy::open(database).await;
    let store = Store::connect(&proxy.url, 3, ring()).await.unwrap();
    (proxy, store, direct)
}

async fn create_account(store: &Store, id: &str) -> Result<Revision, StorageError> {
    let tx = store.begin().await.unwrap();
    let mut account = account(id);
    date_account(&tx, &mut account);
    tx.insert_account(&account).await.unwrap();
    Ok(tx.commit(event(Action::CreateAccount, id, None)).await?.revision)
}

/// Makes a change whose COMMIT meets `fate`, and checks that the reported outcome is true. Returns whether it was
/// committed.
async fn try_it(database: &Database, proxy: &Proxy, store: &Store, direct: &Store, id: &str, fate: Fate) -> bool {
    let before = direct.head().await.unwrap().revision;
    let barrier_before = barrier(database).await;
    proxy.arm(fate);
    let outcome = create_account(store, id).await;
    assert!(proxy.has_struck(), "the COMMIT passed the proxy");
    let is_committed = direct.account(&account_id(id)).await.unwrap().is_some();
    let head = direct.head().await.unwrap().revision;
    assert_eq!(head.0, before.0 + i64::from(is_committed), "{id}: one effect or none, with its event");
    match outcome {
        Ok(revision) => {
            assert!(is_committed && revision == head, "{id}: reported as committed");
            // A visible change may not be replicated: the result must follow an acknowledged commit.
            assert!(barrier(database).await > barrier_before, "{id}: acknowledged without a commit of its own");
        }
        Err(StorageError::OutcomeUnknown(_)) => panic!("{id}: the outcome could have been read"),
        Err(error) => assert!(!is_committed && is_away(&error), "{id}: reported as failed: {error:?}"),
    }
    is_committed
}

async fn trials(database: Database, fate: Fate) -> u32 {
    let (proxy, store, direct) = link(&database).await;
    let mut committed = 0;
    for trial in 0..TRIALS {
        committed += u32::from(try_it(&database, &proxy, &store, &direct, &format!("trial-{trial}"), fate).await);
    }
    assert_eq!(direct.verify_log(None, |_| ()).await.unwrap().faults, []);
    committed
}

async fn a_commit_that_never_arrived_is_reported_as_failed(database: Database) {
    assert_eq!(trials(database, Fate::CutBefore).await, 0);
}

async fn a_commit_that_arrived_is_reported_with_its_outcome(database: Database) {
    // Usually it is committed: the server reads data that arrived before the connection was closed.
    assert!(trials(database, Fate::CutAfter).await > 0);
}

async fn a_commit_whose_response_is_lost_is_reported_as_committed(database: Database) {
    assert_eq!(trials(database, Fate::CutAnswer).await, TRIALS);
}

async fn a_commit_over_a_hanging_connection_is_reported_as_failed_and_releases_its_lock(database: Database) {
    let (proxy, store, direct) = link(&database).await;
    put_account(&direct, account("there")).await;
    // Runs while the first session of the pool is busy, to use another one: each session must have its timeouts.
    let mut is_committed = None;
    let snapshot = store.snapshot(|_| {
        let trial = || Handle::current().block_on(try_it(&database, &proxy, &store, &direct, "silent", Fate::Silence));
        is_committed.get_or_insert_with(|| block_in_place(trial));
    });
    // The snapshot has timed out as well.
    drop(snapshot.await);
    assert_eq!(is_committed, Some(false));
    note(&direct).await;
    note(&store).await;
}

async fn a_commit_whose_response_hangs_is_reported_as_committed(database: Database) {
    let (proxy, store, direct) = link(&database).await;
    assert!(try_it(&database, &proxy, &store, &direct, "silent", Fate::SilenceAnswer).await);
    note(&store).await;
}

async fn a_commit_is_reported_as_unknown_if_its_outcome_cannot_be_read(database: Database) {
    let (proxy, store, direct) = link(&database).await;
    proxy.arm(Fate::CutForGood);
    let error = create_account(&store, "unknown").await.unwrap_err();
    assert!(matches!(error, StorageError::OutcomeUnknown(_)), "{error:?}");
    note(&direct).await;
    proxy.mend();
    note(&store).await;
}

async fn usage_whose_commit_lost_its_response_is_counted_again(database: Database) {
    let (proxy, store, direct) = link(&database).await;
    put_account(&direct, account("acme")).await;
    let create_revision = put_key(&direct, key("key_1", "acme")).await.create_revision;
    let (key_id, digest) = (key_id("key_1"), digest("key_1", 1));
    let last_used_time = at(1_000);
    let mut deltas = [UsageDelta { key_id: key_id.clone(), digest, create_revision, count: 3, last_used_time }];
    proxy.arm(Fate::CutAnswer);
    let (written, error) = store.record_usage(&mut deltas).await.unwrap_err();
    assert!(proxy.has_struck() && written == 0 && is_away(&error), "{error:?}");
    store.record_usage(&mut deltas).await.unwrap();
    let used = direct.key(&key_id).await.unwrap().unwrap().usage;
    assert_eq!(used, Usage { last_used_time: Some(last_used_time), use_count: 6 }, "too high, never too low");
}
