//! Waiting until every replica enforces a change, without I/O.

use std::time::Duration;

use key_authority_domain::audit::ChainHash;
use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_storage::registry::{Nonce, RegistryScan, ReplicaRow};

use super::observed::Observed;
use crate::clock::Boottime;

/// How much longer than the lease a change waits to remove a silent replica, so that the next change need not wait for
/// it.
pub const GRACE: Duration = Duration::from_millis(100);
/// How long a read of the registry may take after the lease is over. It only helps the next change.
pub const LAST_LOOK: Duration = Duration::from_millis(40);

/// A change to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommittedChange {
    /// Its revision.
    pub revision: Revision,
    /// The hash of its event, if known: another log may have another event with that revision.
    pub hash: Option<ChainHash>,
}

impl CommittedChange {
    /// Whether the log that a scan saw contains the change.
    pub(crate) fn is_in(&self, scan: &RegistryScan) -> bool {
        scan.head >= self.revision && self.hash.is_none_or(|hash| scan.hash == Some(hash))
    }
}

/// The outcome of waiting for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// The change.
    pub revision: Revision,
    /// Whether every replica confirmed the change, or some were waited out.
    pub state: PropagationState,
    /// The number of replicas waited for, including this one.
    pub replicas: u32,
    /// The time since the commit.
    pub waited: Duration,
}

/// See [`Propagation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PropagationState {
    /// Every replica has applied it.
    Confirmed,
    /// A silent replica was waited out: it has no lease and does not answer.
    Lapsed,
}

/// A wait for one change, without I/O: it takes what the registry shows, and returns the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wait {
    pub(crate) revision: Revision,
    pub(crate) committed: Boottime,
    lease: Duration,
    grace: Duration,
}

/// The next step of a [`Wait`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The wait is over.
    Over(PropagationState),
    /// Remove these rows if their nonces are still the observed ones; then read the registry again.
    Fence(Vec<(ReplicaId, Nonce)>),
    /// Read the registry again, after a pause.
    Poll,
}

impl Wait {
    /// Makes a wait for `revision`.
    ///
    /// `committed` is an instant after the commit was acknowledged. The change is safe at the latest one `lease` after
    /// it; the wait is over one [`GRACE`] later.
    #[must_use]
    pub fn new(revision: Revision, committed: Boottime, lease: Duration) -> Self {
        Self { revision, committed, lease, grace: GRACE }
    }

    /// Returns the same wait with another grace than [`GRACE`], for models, which have their own units of time.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Returns when the wait is over by time alone: a replica that lacks the change by then has no lease.
    #[must_use]
    pub fn end(&self) -> Boottime {
        self.committed.after(self.lease)
    }

    /// Returns the replicas that have not confirmed the change. `local` is this replica and what it has applied, which
    /// may be ahead of its row.
    pub fn pending<'a>(
        &self,
        rows: &'a [ReplicaRow],
        local: Option<(ReplicaId, Revision)>,
    ) -> impl Iterator<Item = &'a ReplicaRow> {
        let revision = self.revision;
        let applied =
            move |row: &ReplicaRow| local.filter(|(me, _)| *me == row.id).map_or(row.applied, |(_, applied)| applied);
        rows.iter().filter(move |row| applied(row) < revision)
    }

    /// Returns the next step after the registry showed `rows`, which `observed` has recorded. `local` is as in
    /// [`Wait::pending`].
    #[must_use]
    pub fn on_rows(
        &self,
        rows: &[ReplicaRow],
        local: Option<(ReplicaId, Revision)>,
        observed: &Observed,
        now: Boottime,
    ) -> Step {
        let pending: Vec<&ReplicaRow> = self.pending(rows, local).collect();
        if pending.is_empty() {
            return Step::Over(PropagationState::Confirmed);
        }
        // The change is safe, whether the silent replicas could be removed or not.
        if now >= self.end().after(self.grace) {
            return Step::Over(PropagationState::Lapsed);
        }
        let is_me = |row: &ReplicaRow| local.is_some_and(|(me, _)| me == row.id);
        let is_silent = |row: &&&ReplicaRow| !is_me(row) && observed.is_silent(row, self.lease, now);
        let silent: Vec<_> = pending.iter().filter(is_silent).map(|row| (row.id, row.nonce)).collect();
        // A replica may be removed only after it was silent for a whole lease. A row without the confirmation does not
        // prove that the replica has none: an UPDATE that timed out can still arrive, and restore an older
        // confirmation.
        if silent.is_empty() { Step::Poll } else { Step::Fence(silent) }
    }

    /// Returns the next step after the registry could not be read.
    #[must_use]
    pub fn on_time(&self, now: Boottime) -> Step {
        if now >= self.end() { Step::Over(PropagationState::Lapsed) } else { Step::Poll }
    }

    /// Returns the wait as it will be after `by`, expressed as if it still were `now`; see [`Lease::aged`].
    ///
    /// [`Lease::aged`]: super::lease::Lease::aged
    #[must_use]
    pub fn aged(&self, by: Duration, now: Boottime) -> Self {
        Self { committed: now.before((now.since(self.committed) + by).min(self.lease + self.grace)), ..*self }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use key_authority_domain::time::Timestamp;

    pub(crate) fn row(id: u8, applied: i64, nonce: u8) -> ReplicaRow {
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
    fn a_scan_of_a_log_without_the_change_does_not_count() {
        let scan = |head, hash| RegistryScan { rows: vec![], head: Revision(head), hash };
        let (hash, other) = (Some(ChainHash([1; 32])), Some(ChainHash([2; 32])));
        let change = CommittedChange { revision: Revision(5), hash };
        assert!(change.is_in(&scan(5, hash)) && change.is_in(&scan(9, hash)));
        assert!(!change.is_in(&scan(4, None)), "it lags behind");
        assert!(!change.is_in(&scan(9, other)) && !change.is_in(&scan(9, None)), "it is another log");
        let unknown = CommittedChange { hash: None, ..change };
        assert!(unknown.is_in(&scan(5, other)) && !unknown.is_in(&scan(4, None)));
    }

    #[test]
    fn joining_replicas_are_waited_for_and_local_progress_counts() {
        let wait = Wait::new(Revision(5), at(1), WAIT);
        let step = |rows: &[ReplicaRow], local| wait.on_rows(rows, local, &Observed::default(), at(2));
        let me = |id, applied| Some((ReplicaId([id; 16]), Revision(applied)));
        assert_eq!(step(&[row(1, 4, 0)], None), Step::Poll);
        assert_eq!(step(&[row(1, -1, 0)], None), Step::Poll);
        assert_eq!(step(&[row(1, 5, 0)], me(1, 4)), Step::Poll);
        assert_eq!(step(&[row(1, 4, 0)], me(1, 5)), Step::Over(PropagationState::Confirmed));
        assert_eq!(step(&[row(1, 5, 0)], None), Step::Over(PropagationState::Confirmed));
    }

    #[test]
    fn a_silent_row_is_fenced() {
        let mut observed = Observed::default();
        let rows = [row(1, 4, 7), row(2, 5, 7)];
        observed.note(&rows, at(1));
        let wait = Wait::new(Revision(5), at(3), WAIT);
        assert_eq!(wait.on_rows(&rows, None, &observed, at(10)), Step::Poll);
        assert_eq!(wait.on_rows(&rows, None, &observed, at(11)), Step::Fence(vec![(ReplicaId([1; 16]), [7; 8])]));
        assert_eq!(wait.on_rows(&rows[1..], None, &observed, at(11)), Step::Over(PropagationState::Confirmed));
    }

    #[test]
    fn time_alone_ends_the_wait_one_lease_after_the_commit() {
        let wait = Wait::new(Revision(5), at(3), WAIT);
        assert_eq!(wait.on_time(at(12)), Step::Poll);
        assert_eq!(wait.on_time(at(13)), Step::Over(PropagationState::Lapsed));

        // While the registry can be read, the wait goes on a little longer, for a replica that fell silent just before.
        let rows = [row(1, 4, 7)];
        let mut observed = Observed::default();
        observed.note(&rows, at(3).after(GRACE / 2));
        let step = |now| wait.on_rows(&rows, None, &observed, now);
        assert_eq!(step(at(13)), Step::Poll);
        assert_eq!(step(at(13).after(GRACE / 2)), Step::Fence(vec![(ReplicaId([1; 16]), [7; 8])]));
        let step = |now| wait.on_rows(&rows, None, &Observed::default(), now);
        assert_eq!(step(at(13).after(GRACE)), Step::Over(PropagationState::Lapsed));
    }

    #[test]
    fn a_wait_that_cannot_remove_a_row_still_ends() {
        let rows = [row(1, 4, 7)];
        let mut observed = Observed::default();
        observed.note(&rows, at(1));
        let wait = Wait::new(Revision(5), at(3), WAIT);
        // The database shows its rows, but does not allow their removal.
        let step = |now| wait.on_rows(&rows, None, &observed, now);
        assert_eq!(step(at(13)), Step::Fence(vec![(ReplicaId([1; 16]), [7; 8])]));
        assert_eq!(step(at(13).after(GRACE)), Step::Over(PropagationState::Lapsed));
        assert_eq!(step(at(60)), Step::Over(PropagationState::Lapsed));
    }
}
