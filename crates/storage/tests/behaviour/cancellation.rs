//! Cancellation of work at every await point, as when a caller disconnects or a deadline passes.

use std::pin::pin;
use std::task::Poll;

use key_authority_domain::audit::Action;
use key_authority_domain::id::Revision;
use key_authority_storage::{StorageError, Store};

use crate::support::make::{account, account_id, date_account, event, join_as, note, replica_id};
use crate::support::{Database, on_every_database};

on_every_database! {
    a_change_cancelled_at_any_await_is_committed_fully_or_not_at_all,
    a_cancelled_begin_leaves_a_working_session,
    a_cancelled_snapshot_leaves_a_working_session,
}

/// Polls `work` at most `polls` times and then drops it. None if it was not complete.
async fn cancel_after<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

async fn create_account(store: &Store, id: &str) -> Result<Revision, StorageError> {
    let tx = store.begin().await?;
    let mut account = account(id);
    date_account(&tx, &mut account);
    tx.insert_account(&account).await?;
    Ok(tx.commit(event(Action::CreateAccount, id, None)).await?.revision)
}

async fn a_change_cancelled_at_any_await_is_committed_fully_or_not_at_all(database: Database) {
    let other = database.store().await;
    let store = database.connect(1).await;
    for polls in 0.. {
        let id = format!("account-{polls}");
        // The previous cancellation must leave a usable session.
        store.head().await.unwrap();
        let before = other.head().await.unwrap().revision;
        let outcome = cancel_after(polls, Box::pin(create_account(&store, &id))).await;
        // The lock is acquired after the end of the cancelled change.
        let after = note(&other).await.revision;
        let is_there = other.account(&account_id(&id)).await.unwrap().is_some();
        let changes = after.0 - before.0 - 1;
        assert_eq!(changes, i64::from(is_there), "after {polls} polls: an account is written with an event");
        if let Some(revision) = outcome {
            assert_eq!(revision.unwrap(), before.next());
            assert!(is_there);
            break;
        }
    }
    assert_eq!(other.verify_log(None, |_| ()).await.unwrap().faults, []);
}

async fn a_cancelled_begin_leaves_a_working_session(database: Database) {
    let other = database.store().await;
    let store = database.connect(1).await;
    for polls in 0..=u8::MAX {
        let began = cancel_after(polls.into(), store.begin()).await.is_some();
        check_session(&store, &other, polls).await;
        if began {
            return;
        }
    }
}

async fn a_cancelled_snapshot_leaves_a_working_session(database: Database) {
    let other = database.store().await;
    let store = database.connect(1).await;
    for polls in 0..=u8::MAX {
        let ended = cancel_after(polls.into(), store.snapshot(|_| ())).await.is_some();
        check_session(&store, &other, polls).await;
        if ended {
            return;
        }
    }
}

/// Checks that the single session of `store` sees the commits of others, and that others see its writes.
async fn check_session(store: &Store, other: &Store, polls: u8) {
    for _ in 0..2 {
        let committed = note(other).await;
        assert_eq!(store.head().await.unwrap().revision, committed.revision, "after {polls} polls");
        assert_eq!(store.feed(committed.revision).await.unwrap().events.len(), 1, "after {polls} polls");
    }
    join_as(store, polls, [polls; 8]).await;
    let is_seen = other.replicas().await.unwrap().iter().any(|row| row.id == replica_id(polls));
    assert!(is_seen, "after {polls} polls: an acknowledged write must be committed");
}
