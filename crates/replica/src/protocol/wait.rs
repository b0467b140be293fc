//! Waiting until every replica enforces a change, without I/O.

use std::time::Duration;

use key_authority_domain::audit::ChainHash;
use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_storage::registry::{Nonce, RegistryScan, ReplicaRow};

use super::observed::Observed;
use crate::clock::Boottime;

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
    pub(crate) fn is_in(&self, scan: &RegistryScan) -> bool {
        scan.head >= self.revision && self.hash.is_none_or(|hash| scan.hash == Some(hash))
    }
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

/// Waiting for one change, without its I/O: it is told what the registry showed, and says what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wait {
    pub(crate) revision: Revision,
    pub(crate) committed: Boottime,
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
