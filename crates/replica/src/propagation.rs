//! Waiting until a change is everywhere.
//!
//! A replica is waited for until its row confirms the revision. One whose row does not change for the length of the
//! lease is silent: its row is removed by compare-and-swap, after which its heartbeats hit nothing and it must join, and
//! read, anew. And when nobody can be asked, time alone is enough: what does not know of the change has no lease any more
//! once the lease's length has passed since the commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use key_authority_domain::audit::ChainHash;
use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_storage::registry::{Nonce, RegistryScan, ReplicaRow};
use key_authority_storage::{StorageError, Store};

use crate::clock::{Boottime, boottime};
use crate::view::ReplicaState;

const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// How much longer than the lease a change waits to remove who is silent, so that the next one need not wait for it.
pub const GRACE: Duration = Duration::from_millis(100);
/// How long the registry may take to answer when the lease is over: it is only asked for the sake of the next change.
pub const LAST_LOOK: Duration = Duration::from_millis(40);

/// A change that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Its revision.
    pub revision: Revision,
    /// The hash of its event, where it is known: another log may have another event of that revision.
    pub hash: Option<ChainHash>,
}

impl Change {
    /// Whether the log that a scan saw has the change.
    fn is_in(&self, scan: &RegistryScan) -> bool {
        scan.head >= self.revision && self.hash.is_none_or(|hash| scan.hash == Some(hash))
    }
}

/// Why a scan of the registry says nothing about who has applied a change.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The server lags behind, or was the primary once: it may lack replicas that have joined elsewhere.
    #[error("the registry was read from a server whose log, up to revision {head}, lacks the change")]
    Behind { head: Revision },
}

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PropagationState {
    /// Every replica has applied it.
    Confirmed,
    /// A silent replica was waited out: it does not answer any more.
    Lapsed,
}

/// When each replica's row was last seen to change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Observed(BTreeMap<ReplicaId, (Nonce, Boottime)>);

impl Observed {
    /// Notes what the registry showed, and says whether any of it is new. `now` is when it was received, not when it was
    /// asked for.
    pub fn note(&mut self, rows: &[ReplicaRow], now: Boottime) -> bool {
        self.0.retain(|id, _| rows.iter().any(|row| row.id == *id));
        let mut is_new = false;
        for row in rows {
            if self.0.get(&row.id).is_none_or(|(nonce, _)| *nonce != row.nonce) {
                self.0.insert(row.id, (row.nonce, now));
                is_new = true;
            }
        }
        is_new
    }

    /// Whether the row was noted before with another value: its replica runs.
    #[must_use]
    pub fn has_changed(&self, row: &ReplicaRow) -> bool {
        self.0.get(&row.id).is_some_and(|(nonce, _)| *nonce != row.nonce)
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

/// Waiting for one change, without its I/O: it is told what the registry showed, and says what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wait {
    revision: Revision,
    committed: Boottime,
    lease: Duration,
    grace: Duration,
}

/// What to do next in a [`Wait`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The change is over.
    Over(PropagationState),
    /// Remove these rows, whose nonces are the observed ones; then read the registry again.
    Fence(Vec<(ReplicaId, Nonce)>),
    /// Read the registry again, after a pause.
    Ask,
}

impl Wait {
    /// A wait for `revision`. `committed` is an instant after its commit was acknowledged; the change is safe at the latest
    /// one `lease` after it, and the wait is over a [`GRACE`] later.
    #[must_use]
    pub fn new(revision: Revision, committed: Boottime, lease: Duration) -> Self {
        Self { revision, committed, lease, grace: GRACE }
    }

    /// The same with another grace than [`GRACE`]: for models, whose units of time are their own.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// When the wait is over by time alone: who does not know of the change by then has no lease any more.
    #[must_use]
    pub fn end(&self) -> Boottime {
        self.committed.after(self.lease)
    }

    /// Those who have not confirmed the change. `mine` is the replica that waits and what it has applied, which need not
    /// have been confirmed to the database to be known here.
    pub fn pending<'a>(
        &self,
        rows: &'a [ReplicaRow],
        mine: Option<(ReplicaId, Revision)>,
    ) -> impl Iterator<Item = &'a ReplicaRow> {
        let revision = self.revision;
        let applied =
            move |row: &ReplicaRow| mine.filter(|(me, _)| *me == row.id).map_or(row.applied, |(_, mine)| mine);
        rows.iter().filter(move |row| applied(row) < revision)
    }

    /// The registry showed `rows`, `observed` has noted them, and it is `now`. `mine` is as in [`Wait::pending`].
    #[must_use]
    pub fn on_rows(
        &self,
        rows: &[ReplicaRow],
        mine: Option<(ReplicaId, Revision)>,
        observed: &Observed,
        now: Boottime,
    ) -> Step {
        let pending: Vec<&ReplicaRow> = self.pending(rows, mine).collect();
        if pending.is_empty() {
            return Step::Over(PropagationState::Confirmed);
        }
        // The change is over, whether those who are silent could be removed or not.
        if now >= self.end().after(self.grace) {
            return Step::Over(PropagationState::Lapsed);
        }
        let is_me = |row: &ReplicaRow| mine.is_some_and(|(me, _)| me == row.id);
        let is_silent = |row: &&&ReplicaRow| !is_me(row) && observed.is_silent(row, self.lease, now);
        let silent: Vec<_> = pending.iter().filter(is_silent).map(|row| (row.id, row.nonce)).collect();
        // Past the end, who fell silent before the change will have been for long enough in a moment. Nobody may be removed
        // earlier: that a row shows no confirmation does not say that its replica has none, since an UPDATE that was given
        // up can still arrive, and put an older one back.
        if silent.is_empty() { Step::Ask } else { Step::Fence(silent) }
    }

    /// It is `now`, and the registry could not be read.
    #[must_use]
    pub fn on_time(&self, now: Boottime) -> Step {
        if now >= self.end() { Step::Over(PropagationState::Lapsed) } else { Step::Ask }
    }

    /// The same wait as it will be in `by`, told as if it still were `now`; see [`crate::lease::Lease::aged`].
    #[must_use]
    pub fn aged(&self, by: Duration, now: Boottime) -> Self {
        Self { committed: now.before((now.since(self.committed) + by).min(self.lease + self.grace)), ..*self }
    }
}

/// Who was waited for: at the end it is told whether each of them confirmed, or was gone before it did.
#[derive(Debug, Default)]
struct Awaited {
    pending: Vec<ReplicaId>,
    has_lost_one: bool,
}

impl Awaited {
    fn note<'a>(&mut self, rows: &[ReplicaRow], pending: impl Iterator<Item = &'a ReplicaRow>) {
        self.has_lost_one |= self.pending.iter().any(|id| rows.iter().all(|row| row.id != *id));
        self.pending = pending.map(|row| row.id).collect();
    }
}

/// The failures of one wait, of which the first is told: it asks up to fifty times a second.
#[derive(Debug, Default)]
struct Failures {
    is_logged: bool,
}

impl Failures {
    fn log(&mut self, error: &dyn std::error::Error, doing: &str) {
        if std::mem::replace(&mut self.is_logged, true) {
            tracing::debug!(error = %error, "{doing}");
        } else {
            tracing::warn!(error = %error, "{doing}");
        }
    }
}

/// How long a statement of the wait may take from now on. Computed anew before each: a slow scan leaves less for a fence.
fn time_left(wait: &Wait) -> Duration {
    wait.end().since(boottime()).max(LAST_LOOK)
}

impl ReplicaState {
    /// Waits until every replica has applied `change` or has no lease any more. `committed` is an instant after the commit
    /// was acknowledged. The change is safe one lease after it; the wait ends a quarter of a second later at the latest.
    pub async fn everywhere(&self, store: &Store, change: Change, committed: Boottime) -> Propagation {
        let Change { revision, .. } = change;
        let wait = Wait::new(revision, committed, self.terms.wait);
        let mut awaited = Awaited::default();
        let mut replicas = 1;
        let mut pause = PAUSE_MIN;
        let mut failures = Failures::default();
        self.wake.notify_one();
        self.here(&wait).await;
        let state = loop {
            let step = match tokio::time::timeout(time_left(&wait), self.scan(store, change)).await {
                Ok(Ok(rows)) => {
                    replicas = u32::try_from(rows.len()).unwrap_or(u32::MAX).max(replicas);
                    let mine = self.mine(&wait);
                    awaited.note(&rows, wait.pending(&rows, mine));
                    wait.on_rows(&rows, mine, &self.observed(), boottime())
                }
                Ok(Err(error)) => {
                    failures.log(&error, "cannot read the registry of replicas");
                    wait.on_time(boottime())
                }
                Err(_) => wait.on_time(boottime()),
            };
            match step {
                Step::Over(_) if awaited.has_lost_one => break PropagationState::Lapsed,
                Step::Over(state) => break state,
                Step::Fence(silent) => {
                    let fenced = tokio::time::timeout(time_left(&wait), self.fence(store, &silent)).await;
                    if let Ok(Err(error)) = fenced {
                        failures.log(&error, "cannot remove silent replicas from the registry");
                    }
                }
                Step::Ask => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(PAUSE_MAX);
        };
        if state == PropagationState::Lapsed && !awaited.pending.is_empty() {
            // None of them can answer any more without the change; but why they did not confirm it is worth a look.
            tracing::warn!(%revision, replicas = ?awaited.pending, "waited out replicas that did not confirm a change");
        }
        Propagation { revision, state, replicas, waited: boottime().since(committed) }
    }

    /// Waits until the change is known here, or the wait is over.
    async fn here(&self, wait: &Wait) {
        let mut known = self.watch_known();
        let here = known.wait_for(|known| known.at >= wait.committed && known.revision >= wait.revision);
        let _ = tokio::time::timeout(wait.end().since(boottime()), here).await;
    }

    /// This replica and what it has applied, if that is of a log that was read after the commit: before, it may be of one
    /// that is no more.
    fn mine(&self, wait: &Wait) -> Option<(ReplicaId, Revision)> {
        let known = *self.watch_known().borrow();
        self.me().filter(|_| known.at >= wait.committed).map(|me| (me, known.revision))
    }

    /// Reads the registry and notes what it shows.
    pub(crate) async fn scan(&self, store: &Store, change: Change) -> Result<Vec<ReplicaRow>, ScanError> {
        let scan = store.registry(change.revision).await?;
        let received = boottime();
        if !change.is_in(&scan) {
            return Err(ScanError::Behind { head: scan.head });
        }
        self.observed().note(&scan.rows, received);
        Ok(scan.rows)
    }

    /// Removes the replicas that have been silent for the length of the lease, so that no change need wait for them.
    /// Says whether it could.
    pub(crate) async fn fence_silent(&self, store: &Store, rows: &[ReplicaRow]) -> bool {
        let silent = rows.iter().filter(|row| self.me() != Some(row.id));
        let silent = silent.filter(|row| self.observed().is_silent(row, self.terms.wait, boottime()));
        let silent: Vec<_> = silent.map(|row| (row.id, row.nonce)).collect();
        let fenced = self.fence(store, &silent).await;
        if let Err(error) = &fenced {
            tracing::debug!(error = %error, "removing silent replicas");
        }
        fenced.is_ok()
    }

    /// Removes rows whose nonces are still those that were observed.
    async fn fence(&self, store: &Store, silent: &[(ReplicaId, Nonce)]) -> Result<(), StorageError> {
        let mut failed = Ok(());
        for (id, nonce) in silent {
            match store.fence(*id, *nonce).await {
                Ok(true) => {
                    self.count_fenced();
                    tracing::warn!(replica = %id, "removed a silent replica from the registry");
                }
                Ok(false) => {}
                // One that is locked does not keep the others.
                Err(error) => failed = Err(error),
            }
        }
        failed
    }

    fn observed(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_scan_of_a_log_without_the_change_is_none() {
        let scan = |head, hash| RegistryScan { rows: vec![], head: Revision(head), hash };
        let (hash, other) = (Some(ChainHash([1; 32])), Some(ChainHash([2; 32])));
        let change = Change { revision: Revision(5), hash };
        assert!(change.is_in(&scan(5, hash)) && change.is_in(&scan(9, hash)));
        assert!(!change.is_in(&scan(4, None)), "it lags behind");
        assert!(!change.is_in(&scan(9, other)) && !change.is_in(&scan(9, None)), "it is another log");
        let unknown = Change { hash: None, ..change };
        assert!(unknown.is_in(&scan(5, other)) && !unknown.is_in(&scan(4, None)));
    }

    #[test]
    fn joining_replicas_are_waited_for_and_what_is_applied_here_counts() {
        let wait = Wait::new(Revision(5), at(1), WAIT);
        let step = |rows: &[ReplicaRow], mine| wait.on_rows(rows, mine, &Observed::default(), at(2));
        let me = |id, applied| Some((ReplicaId([id; 16]), Revision(applied)));
        assert_eq!(step(&[row(1, 4, 0)], None), Step::Ask);
        assert_eq!(step(&[row(1, -1, 0)], None), Step::Ask);
        assert_eq!(step(&[row(1, 5, 0)], me(1, 4)), Step::Ask);
        assert_eq!(step(&[row(1, 4, 0)], me(1, 5)), Step::Over(PropagationState::Confirmed));
        assert_eq!(step(&[row(1, 5, 0)], None), Step::Over(PropagationState::Confirmed));
    }

    #[test]
    fn a_silent_row_is_fenced() {
        let mut observed = Observed::default();
        let rows = [row(1, 4, 7), row(2, 5, 7)];
        observed.note(&rows, at(1));
        let wait = Wait::new(Revision(5), at(3), WAIT);
        assert_eq!(wait.on_rows(&rows, None, &observed, at(10)), Step::Ask);
        assert_eq!(wait.on_rows(&rows, None, &observed, at(11)), Step::Fence(vec![(ReplicaId([1; 16]), [7; 8])]));
        assert_eq!(wait.on_rows(&rows[1..], None, &observed, at(11)), Step::Over(PropagationState::Confirmed));
    }

    #[test]
    fn it_is_known_of_whom_nobody_heard_that_they_have_the_change() {
        let rows = [row(1, 4, 7), row(2, 5, 7)];
        let wait = Wait::new(Revision(5), at(3), WAIT);
        let mut awaited = Awaited::default();
        awaited.note(&rows, wait.pending(&rows, None));
        assert_eq!((awaited.pending.len(), awaited.has_lost_one), (1, false));
        let confirmed = [row(1, 5, 8), row(2, 5, 7)];
        let mut other = Awaited { pending: awaited.pending.clone(), has_lost_one: false };
        other.note(&confirmed, wait.pending(&confirmed, None));
        assert_eq!((other.pending.len(), other.has_lost_one), (0, false));
        awaited.note(&rows[1..], wait.pending(&rows[1..], None));
        assert_eq!((awaited.pending.len(), awaited.has_lost_one), (0, true));
    }

    #[test]
    fn time_alone_ends_the_wait_one_lease_after_the_commit() {
        let wait = Wait::new(Revision(5), at(3), WAIT);
        assert_eq!(wait.on_time(at(12)), Step::Ask);
        assert_eq!(wait.on_time(at(13)), Step::Over(PropagationState::Lapsed));

        // While the registry can be read, it goes on a little longer, for who fell silent just before.
        let rows = [row(1, 4, 7)];
        let mut observed = Observed::default();
        observed.note(&rows, at(3).after(GRACE / 2));
        let step = |now| wait.on_rows(&rows, None, &observed, now);
        assert_eq!(step(at(13)), Step::Ask);
        assert_eq!(step(at(13).after(GRACE / 2)), Step::Fence(vec![(ReplicaId([1; 16]), [7; 8])]));
        let step = |now| wait.on_rows(&rows, None, &Observed::default(), now);
        assert_eq!(step(at(13).after(GRACE)), Step::Over(PropagationState::Lapsed));
    }

    #[test]
    fn a_wait_that_cannot_remove_a_row_ends_all_the_same() {
        let rows = [row(1, 4, 7)];
        let mut observed = Observed::default();
        observed.note(&rows, at(1));
        let wait = Wait::new(Revision(5), at(3), WAIT);
        // The database shows its rows, and lets none of them be removed.
        let step = |now| wait.on_rows(&rows, None, &observed, now);
        assert_eq!(step(at(13)), Step::Fence(vec![(ReplicaId([1; 16]), [7; 8])]));
        assert_eq!(step(at(13).after(GRACE)), Step::Over(PropagationState::Lapsed));
        assert_eq!(step(at(60)), Step::Over(PropagationState::Lapsed));
    }
}
