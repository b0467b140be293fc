//! Waiting for propagation: production's loop around [`Wait`], step by step.

use std::collections::BTreeSet;
use std::time::Duration;

use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_replica::clock::Boottime;
use key_authority_replica::protocol::wait::{LAST_LOOK, PropagationState, Step, Wait};
use key_authority_storage::registry::{Nonce, ReplicaRow};

use crate::network::{Connection, ConnectionLost};
use crate::process::Server;
use crate::variant::Variant;

const PAUSE_MIN: Duration = Duration::from_millis(2);

/// The rows of silent replicas.
type Silent = BTreeSet<(ReplicaId, Nonce)>;

impl Server {
    /// Waits until every replica has applied `revision` or lost its lease.
    pub(crate) async fn wait_until_propagated(&self, revision: Revision, committed: Boottime) -> PropagationState {
        let terms = self.world.terms;
        let wait = Wait::new(revision, committed, terms.wait);
        let mut connection = Connection::open(&self.world, &self.process.host);
        // Rows that count as lapsed without removal; empty except in an unsafe variant.
        let mut disregarded = Silent::new();
        let mut pause = PAUSE_MIN;
        let pause_max = Duration::from_nanos(self.world.profile.scan);
        let paused = self.process.paused();
        self.step().await;
        self.process.wake(&self.world);
        self.until(wait.end(), self.wait_until_applied(revision)).await;
        let mut waited_for = BTreeSet::new();
        let mut has_lost_row = false;
        let state = loop {
            let step = match self.until(self.last_look(&wait), self.scan(&mut connection)).await {
                Some(Ok(mut rows)) => {
                    self.step().await;
                    rows.retain(|row| !disregarded.contains(&(row.id, row.nonce)) && self.counts(row));
                    let mine = self.process.me.get().map(|me| (me, self.process.applied()));
                    has_lost_row |= waited_for.iter().any(|id| rows.iter().all(|row| row.id != *id));
                    waited_for = wait.pending(&rows, mine).map(|row| row.id).collect();
                    wait.on_rows(&rows, mine, &self.process.observed.borrow(), self.boottime())
                }
                Some(Err(ConnectionLost)) | None => wait.on_time(self.boottime()),
            };
            self.step().await;
            match step {
                Step::Over(_) if has_lost_row => break PropagationState::Lapsed,
                Step::Over(state) => break state,
                Step::Fence(silent) if self.world.variant == Some(Variant::NoFence) => {
                    disregarded.extend(silent);
                }
                Step::Fence(silent) => {
                    let silent = silent.into_iter().collect();
                    let fence = self.fence(&mut connection, silent);
                    if self.world.variant == Some(Variant::UnboundedFence) {
                        fence.await;
                    } else {
                        self.until(self.last_look(&wait), fence).await;
                    }
                }
                Step::Ask => {}
            }
            let next = self.boottime().after(pause.min(wait.end().since(self.boottime()).max(PAUSE_MIN)));
            self.until(next, std::future::pending::<()>()).await;
            pause = (pause * 2).min(pause_max);
        };
        let late = self.boottime().since(wait.end());
        self.world.check.waited(&self.process.host, late, self.process.paused() - paused);
        state
    }

    /// The deadline for reads of the registry.
    fn last_look(&self, wait: &Wait) -> Boottime {
        wait.end().max(self.boottime().after(LAST_LOOK))
    }

    /// Whether the change waits for a row.
    fn counts(&self, row: &ReplicaRow) -> bool {
        self.world.variant != Some(Variant::JoiningNotCounted) || row.applied >= Revision(0)
    }

    /// Reads the registry and records its rows.
    pub(crate) async fn scan(&self, connection: &mut Connection) -> Result<Vec<ReplicaRow>, ConnectionLost> {
        let sent = self.boottime();
        let rows = connection.replicas().await?;
        let received = self.boottime();
        let now = if self.world.variant == Some(Variant::SilentFromSending) { sent } else { received };
        self.process.observed.borrow_mut().note(&rows, now);
        Ok(rows)
    }

    /// Removes rows whose nonces have not changed since they were observed.
    pub(crate) async fn fence(&self, connection: &mut Connection, silent: Silent) {
        let compare = self.world.variant != Some(Variant::CleanupWithoutCompare);
        for (id, nonce) in silent {
            self.step().await;
            if let Ok(true) = connection.fence(id, compare.then_some(nonce)).await {
                self.world.statistics.borrow_mut().fenced += 1;
            }
        }
    }
}
