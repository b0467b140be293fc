//! Waiting until a change is everywhere.
//!
//! A replica is waited for until its row confirms the revision. One whose row does not change for the length of the
//! lease is silent: its row is removed by compare-and-swap, after which its heartbeats hit nothing and it must join, and
//! read, anew. And when nobody can be asked, time alone is enough: what does not know of the change has no lease any more
//! once the lease's length has passed since the commit.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_storage::registry::{Nonce, ReplicaRow};
use key_authority_storage::{StorageError, Store};

use crate::clock::{Boottime, boottime};
use crate::view::View;

const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// How a change came to be everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// The change.
    pub revision: Revision,
    /// Whether every replica has it, or some were waited out.
    pub state: PropagationState,
    /// How many replicas were waited for, this one included.
    pub replicas: u32,
    /// How long it took, from the commit on.
    pub waited: Duration,
}

/// See [`Propagation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropagationState {
    /// Every replica has applied it.
    Confirmed,
    /// A silent replica was waited out: it does not answer any more.
    Lapsed,
}

/// When each replica's row was last seen to change.
#[derive(Debug, Default)]
pub struct Observed(HashMap<ReplicaId, (Nonce, Boottime)>);

impl Observed {
    /// Notes what the registry showed. `now` is when it was received, not when it was asked for.
    pub fn note(&mut self, rows: &[ReplicaRow], now: Boottime) {
        self.0.retain(|id, _| rows.iter().any(|row| row.id == *id));
        for row in rows {
            let seen = self.0.entry(row.id).or_insert((row.nonce, now));
            if seen.0 != row.nonce {
                *seen = (row.nonce, now);
            }
        }
    }

    /// Whether the row has not changed for `wait`.
    #[must_use]
    pub fn is_silent(&self, row: &ReplicaRow, wait: Duration, now: Boottime) -> bool {
        self.0.get(&row.id).is_some_and(|(nonce, since)| *nonce == row.nonce && now.since(*since) >= wait)
    }

    pub(crate) fn silences(&self, now: Boottime) -> HashMap<ReplicaId, Duration> {
        self.0.iter().map(|(id, (_, since))| (*id, now.since(*since))).collect()
    }
}

/// The replicas that a change is still waiting for.
fn pending(
    rows: &[ReplicaRow],
    revision: Revision,
    mine: Option<(ReplicaId, Revision)>,
) -> impl Iterator<Item = &ReplicaRow> {
    rows.iter().filter(move |row| match mine {
        // What is applied here need not have been confirmed to the database to be known here.
        Some((me, applied)) if me == row.id => applied < revision,
        _ => row.applied < revision,
    })
}

impl View {
    /// Waits until every replica has applied `revision` or has no lease any more. `committed` is an instant after the
    /// commit was acknowledged; the wait ends at the latest one lease after it.
    pub async fn everywhere(&self, store: &Store, revision: Revision, committed: Boottime) -> Propagation {
        let mut replicas = 1;
        let mut state = PropagationState::Confirmed;
        let end = committed.after(self.terms.wait);
        let mut pause = PAUSE_MIN;
        self.wake.notify_one();
        let mut applied = self.watch_applied();
        let _ = tokio::time::timeout(end.since(boottime()), applied.wait_for(|applied| *applied >= revision)).await;
        loop {
            match tokio::time::timeout(end.since(boottime()), self.scan(store)).await {
                Ok(Ok(rows)) => {
                    let mine = self.me().map(|me| (me, self.applied()));
                    replicas = u32::try_from(rows.len()).unwrap_or(u32::MAX).max(replicas);
                    let waiting: Vec<_> = pending(&rows, revision, mine).collect();
                    if waiting.is_empty() && self.applied() >= revision {
                        break;
                    }
                    if self.fence_silent(store, &waiting).await {
                        state = PropagationState::Lapsed;
                        continue;
                    }
                }
                Ok(Err(error)) => tracing::warn!(%revision, error = %error, "asking who has applied a change"),
                Err(_) => {}
            }
            if boottime() >= end {
                state = PropagationState::Lapsed;
                break;
            }
            tokio::time::sleep(pause.min(end.since(boottime()))).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Propagation { revision, state, replicas, waited: boottime().since(committed) }
    }

    /// Reads the registry and notes what it shows.
    pub(crate) async fn scan(&self, store: &Store) -> Result<Vec<ReplicaRow>, StorageError> {
        let rows = store.replicas().await?;
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).note(&rows, boottime());
        Ok(rows)
    }

    /// Removes those of `rows` that are silent, and says whether there were any.
    pub(crate) async fn fence_silent(&self, store: &Store, rows: &[&ReplicaRow]) -> bool {
        let mut any = false;
        for row in rows {
            let is_silent = {
                let observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
                observed.is_silent(row, self.terms.wait, boottime())
            };
            if !is_silent || self.me() == Some(row.id) {
                continue;
            }
            match store.fence(row.id, row.nonce).await {
                Ok(true) => {
                    any = true;
                    self.count_fenced();
                    tracing::warn!(replica = %row.id, address = row.address, "removed a silent replica from the registry");
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(replica = %row.id, error = %error, "removing a silent replica"),
            }
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use key_authority_domain::time::Timestamp;

    fn row(id: u8, applied: i64, nonce: u8) -> ReplicaRow {
        ReplicaRow {
            id: ReplicaId([id; 16]),
            applied: Revision(applied),
            nonce: [nonce; 8],
            build: String::new(),
            address: String::new(),
            join_time: Timestamp::from_micros(0),
            seen_time: Timestamp::from_micros(0),
        }
    }

    const WAIT: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Boottime {
        Boottime(seconds * 1_000_000_000)
    }

    #[test]
    fn a_row_is_silent_only_when_it_was_seen_unchanged_for_the_whole_wait() {
        let mut observed = Observed::default();
        observed.note(&[row(1, 5, 1)], at(1));
        assert!(!observed.is_silent(&row(1, 5, 1), WAIT, at(10)));
        assert!(observed.is_silent(&row(1, 5, 1), WAIT, at(11)));
        assert!(!observed.is_silent(&row(1, 5, 2), WAIT, at(11)));
        assert!(!observed.is_silent(&row(2, 5, 1), WAIT, at(11)));
        observed.note(&[row(1, 5, 2)], at(11));
        assert!(!observed.is_silent(&row(1, 5, 2), WAIT, at(20)));
        observed.note(&[], at(12));
        observed.note(&[row(1, 5, 2)], at(13));
        assert!(!observed.is_silent(&row(1, 5, 2), WAIT, at(22)));
    }

    #[test]
    fn joining_replicas_are_waited_for_and_what_is_applied_here_counts() {
        let rows = [row(1, 4, 0), row(2, -1, 0), row(3, 5, 0)];
        let ids = |mine| pending(&rows, Revision(5), mine).map(|row| row.id.0[0]).collect::<Vec<_>>();
        assert_eq!(ids(None), [1, 2]);
        assert_eq!(ids(Some((ReplicaId([1; 16]), Revision(5)))), [2]);
        assert_eq!(ids(Some((ReplicaId([3; 16]), Revision(4)))), [1, 2, 3]);
    }
}
