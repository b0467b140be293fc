//! Waiting until every replica enforces a change.
//!
//! t0: the change is committed, and the commit is acknowledged.
//! t1: this replica applies the change.
//! t2: the registry is polled until every row confirms the revision: `Confirmed`.
//! t3: a replica whose row has not changed for the length of the lease is silent. Its row is removed by
//!     compare-and-swap; its next heartbeat hits no row, so it joins and reads the log again.
//! t4: when the registry cannot be read, time alone is enough. One lease after t0, a replica without the change has no
//!     lease: `Lapsed`.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_storage::StorageError;
use key_authority_storage::registry::{Nonce, ReplicaRow};

use crate::clock::Boottime;
use crate::failure_log::FailureLog;
use crate::ledger::{Ledger, Timer};
use crate::protocol::observed::Observed;
use crate::protocol::wait::{CommittedChange, LAST_LOOK, Propagation, PropagationState, Step, Wait};
use crate::state::ReplicaState;

const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// Why a scan of the registry does not show which replicas have applied a change.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The server lags behind, or is a former primary: it may lack replicas that joined through another server.
    #[error("the registry was read from a server whose log, up to revision {head}, lacks the change")]
    Behind { head: Revision },
}

/// The replicas that a change waits for, and whether one of them was removed before it confirmed.
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

/// Returns how long a statement of the wait may take. It is computed before each statement: a slow scan leaves less for
/// a fence.
fn time_left(wait: &Wait, now: Boottime) -> Duration {
    wait.end().since(now).max(LAST_LOOK)
}

impl ReplicaState {
    /// Waits until every replica has applied `change` or has no lease.
    ///
    /// `committed` is an instant after the commit was acknowledged. The change is safe one lease after it; the wait
    /// ends at most a quarter of a second later.
    pub async fn wait_until_propagated(
        &self,
        ledger: &impl Ledger,
        timer: &impl Timer,
        change: CommittedChange,
        committed: Boottime,
    ) -> Propagation {
        let CommittedChange { revision, .. } = change;
        let wait = Wait::new(revision, committed, self.timings.wait);
        let mut awaited = Awaited::default();
        let mut replicas = 1;
        let mut pause = PAUSE_MIN;
        let mut failures = FailureLog::default();
        self.wake.notify_one();
        self.wait_until_applied_locally(timer, &wait).await;
        let state = loop {
            let step = match timer.within(time_left(&wait, timer.now()), self.scan(ledger, timer, change)).await {
                Some(Ok(rows)) => {
                    replicas = u32::try_from(rows.len()).unwrap_or(u32::MAX).max(replicas);
                    let local = self.local_progress(&wait);
                    awaited.note(&rows, wait.pending(&rows, local));
                    wait.on_rows(&rows, local, &self.observed(), timer.now())
                }
                Some(Err(error)) => {
                    failures.log(&error, "cannot read the registry of replicas", timer.now());
                    wait.on_time(timer.now())
                }
                None => wait.on_time(timer.now()),
            };
            match step {
                Step::Over(_) if awaited.has_lost_one => break PropagationState::Lapsed,
                Step::Over(state) => break state,
                Step::Fence(silent) => {
                    let fenced = timer.within(time_left(&wait, timer.now()), self.fence(ledger, &silent)).await;
                    if let Some(Err(error)) = fenced {
                        failures.log(&error, "cannot remove silent replicas from the registry", timer.now());
                    }
                }
                Step::Poll => {}
            }
            timer.sleep(pause).await;
            pause = (pause * 3 / 2).min(PAUSE_MAX);
        };
        if state == PropagationState::Lapsed && !awaited.pending.is_empty() {
            // None of them can answer without the change any more, but an operator should find out why they did not
            // confirm.
            tracing::warn!(%revision, replicas = ?awaited.pending, "waited out replicas that did not confirm a change");
        }
        Propagation { revision, state, replicas, waited: timer.now().since(committed) }
    }

    /// Waits until this replica has applied the change, or the wait is over.
    async fn wait_until_applied_locally(&self, timer: &impl Timer, wait: &Wait) {
        let mut applied = self.watch_applied_at();
        let is_applied = applied.wait_for(|applied| applied.at >= wait.committed && applied.revision >= wait.revision);
        let _ = timer.within(wait.end().since(timer.now()), is_applied).await;
    }

    /// Returns this replica and what it has applied, if the log was read after the commit. An earlier reading may be of
    /// a log that a restore has replaced.
    fn local_progress(&self, wait: &Wait) -> Option<(ReplicaId, Revision)> {
        let applied = *self.watch_applied_at().borrow();
        self.me().filter(|_| applied.at >= wait.committed).map(|me| (me, applied.revision))
    }

    /// Reads the registry and records what it shows.
    pub(crate) async fn scan(
        &self,
        ledger: &impl Ledger,
        timer: &impl Timer,
        change: CommittedChange,
    ) -> Result<Vec<ReplicaRow>, ScanError> {
        let scan = ledger.registry(change.revision).await?;
        let received = timer.now();
        if !change.is_in(&scan) {
            return Err(ScanError::Behind { head: scan.head });
        }
        self.observed().note(&scan.rows, received);
        Ok(scan.rows)
    }

    /// Removes the replicas that have been silent for the length of the lease, so that no change waits for them.
    /// Returns whether all removals succeeded.
    pub(crate) async fn fence_silent(&self, ledger: &impl Ledger, timer: &impl Timer, rows: &[ReplicaRow]) -> bool {
        let silent = rows.iter().filter(|row| self.me() != Some(row.id));
        let silent = silent.filter(|row| self.observed().is_silent(row, self.timings.wait, timer.now()));
        let silent: Vec<_> = silent.map(|row| (row.id, row.nonce)).collect();
        let fenced = self.fence(ledger, &silent).await;
        if let Err(error) = &fenced {
            tracing::debug!(error = %error, "cannot remove silent replicas from the registry");
        }
        fenced.is_ok()
    }

    /// Removes rows whose nonces are still the observed ones.
    async fn fence(&self, ledger: &impl Ledger, silent: &[(ReplicaId, Nonce)]) -> Result<(), StorageError> {
        let mut failed = Ok(());
        for (id, nonce) in silent {
            match ledger.fence(*id, *nonce).await {
                Ok(true) => {
                    self.count_fenced();
                    tracing::warn!(replica = %id, "removed a silent replica from the registry");
                }
                Ok(false) => {}
                // A locked row does not keep the others from being removed.
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
    use crate::protocol::wait::tests::row;

    #[test]
    fn a_replica_that_is_removed_before_it_confirms_counts_as_lost() {
        let rows = [row(1, 4, 7), row(2, 5, 7)];
        let wait = Wait::new(Revision(5), Boottime(3), Duration::from_secs(10));
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
}
