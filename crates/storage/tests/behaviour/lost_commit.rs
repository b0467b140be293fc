//! A COMMIT whose answer is lost: the change stands once or not at all, and the caller is told which.

use key_authority_domain::audit::Action;
use key_authority_domain::id::Revision;
use key_authority_storage::{StorageError, Store};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::edges::barrier;
use crate::support::make::{account, account_id, date_account, event, note, put_account, ring};
use crate::support::proxy::{Fate, Proxy};
use crate::support::{Database, is_away, on_database_servers};

on_database_servers! {
    a_commit_that_never_arrived_is_told_as_nothing_changed,
    a_commit_that_arrived_is_told_as_what_became_of_it,
    a_commit_that_was_answered_is_told_as_done,
    a_commit_whose_link_falls_silent_is_told_as_nothing_changed_and_its_lock_is_free,
    a_commit_whose_answer_falls_silent_is_told_as_done,
    a_commit_that_nobody_can_ask_after_is_told_as_unknown,
}

const TRIALS: u32 = 50;

/// A link, a store that uses it, and one that goes past it.
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

/// Makes a change that meets its fate, and checks that what was told is true. Whether it stands.
async fn try_it(database: &Database, proxy: &Proxy, store: &Store, direct: &Store, id: &str, fate: Fate) -> bool {
    let before = direct.head().await.unwrap().revision;
    let barrier_before = barrier(database).await;
    proxy.arm(fate);
    let told = create_account(store, id).await;
    assert!(proxy.has_struck(), "the COMMIT went by the link");
    let stands = direct.account(&account_id(id)).await.unwrap().is_some();
    let head = direct.head().await.unwrap().revision;
    assert_eq!(head.0, before.0 + i64::from(stands), "{id}: one effect or none, with its event");
    match told {
        Ok(revision) => {
            assert!(stands && revision == head, "{id}: was told as done");
            // Visible is not replicated: the answer rests on a commit that was acknowledged.
            assert!(barrier(database).await > barrier_before, "{id}: acknowledged without a commit of its own");
        }
        Err(StorageError::OutcomeUnknown(_)) => panic!("{id}: the database could have been asked"),
        Err(error) => assert!(!stands && is_away(&error), "{id}: was told as not done: {error:?}"),
    }
    stands
}

async fn trials(database: Database, fate: Fate) -> u32 {
    let (proxy, store, direct) = link(&database).await;
    let mut standing = 0;
    for trial in 0..TRIALS {
        standing += u32::from(try_it(&database, &proxy, &store, &direct, &format!("trial-{trial}"), fate).await);
    }
    assert_eq!(direct.verify_log(None, |_| ()).await.unwrap().faults, []);
    standing
}

async fn a_commit_that_never_arrived_is_told_as_nothing_changed(database: Database) {
    assert_eq!(trials(database, Fate::CutBefore).await, 0);
}

async fn a_commit_that_arrived_is_told_as_what_became_of_it(database: Database) {
    // Mostly it stands: the server reads what came before the end of the link.
    assert!(trials(database, Fate::CutAfter).await > 0);
}

async fn a_commit_that_was_answered_is_told_as_done(database: Database) {
    assert_eq!(trials(database, Fate::CutAnswer).await, TRIALS);
}

async fn a_commit_whose_link_falls_silent_is_told_as_nothing_changed_and_its_lock_is_free(database: Database) {
    let (proxy, store, direct) = link(&database).await;
    put_account(&direct, account("there")).await;
    // While the session that the pool was opened with is busy, so that it is another: each must have its limits.
    let mut stands = None;
    let snapshot = store.snapshot(|_| {
        let trial = || Handle::current().block_on(try_it(&database, &proxy, &store, &direct, "silent", Fate::Silence));
        stands.get_or_insert_with(|| block_in_place(trial));
    });
    // It was silent for too long itself.
    drop(snapshot.await);
    assert_eq!(stands, Some(false));
    note(&direct).await;
    note(&store).await;
}

async fn a_commit_whose_answer_falls_silent_is_told_as_done(database: Database) {
    let (proxy, store, direct) = link(&database).await;
    assert!(try_it(&database, &proxy, &store, &direct, "silent", Fate::SilenceAnswer).await);
    note(&store).await;
}

async fn a_commit_that_nobody_can_ask_after_is_told_as_unknown(database: Database) {
    let (proxy, store, direct) = link(&database).await;
    proxy.arm(Fate::CutForGood);
    let error = create_account(&store, "unknown").await.unwrap_err();
    assert!(matches!(error, StorageError::OutcomeUnknown(_)), "{error:?}");
    note(&direct).await;
    proxy.mend();
    note(&store).await;
}
