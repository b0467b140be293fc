//! The state that the replicator shares with the tasks that answer calls: the index, the deadline of the lease, the
//! authority's clock, and the applied revision.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;
use tokio::sync::{Notify, watch};

use crate::clock::{AuthorityClock, Boottime, ClockStep, boottime};
use crate::index::{Index, SharedKeyRecord};
use crate::proof::LeaseProof;
use crate::protocol::lease::{self, Lease};
use crate::protocol::observed::Observed;
use crate::protocol::timings::LeaseTimings;
use crate::usage::Usage;

/// A source of random bytes.
pub type Entropy = fn(&mut [u8]) -> Result<(), std::io::Error>;

/// The replica has no lease, so it may not answer. This is not a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this replica has no lease and cannot answer; retry, or use another replica")]
pub struct NoLease;

/// The state of one replica.
///
/// The replicator writes what Verify depends on: the index, the lease, the clock and the applied revision. The tasks
/// that answer calls record uses and refused calls, and those that wait for a change record what the registry shows.
#[derive(Debug)]
pub struct ReplicaState {
    pub(crate) index: Arc<Index>,
    /// Boottime in nanoseconds; 0 is no lease.
    deadline: AtomicU64,
    clock: AuthorityClock,
    usage: Usage,
    applied: AtomicI64,
    /// The applied revision for those that wait for it; Verify does not take its lock.
    applied_at: watch::Sender<AppliedAt>,
    head: AtomicI64,
    storage_answers: AtomicBool,
    log_divergences: AtomicU64,
    fenced: AtomicU64,
    refused: AtomicU64,
    clock_steps: AtomicU64,
    pub(crate) wake: Notify,
    pub(crate) timings: LeaseTimings,
    pub(crate) observed: Mutex<Observed>,
    pub(crate) me: Mutex<Option<ReplicaId>>,
}

/// The applied revision, and since when it is known to be the end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AppliedAt {
    pub(crate) revision: Revision,
    pub(crate) at: Boottime,
}

impl ReplicaState {
    pub(crate) fn new(index: Arc<Index>, timings: LeaseTimings) -> Self {
        Self {
            index,
            deadline: AtomicU64::new(0),
            clock: AuthorityClock::default(),
            usage: Usage::default(),
            applied: AtomicI64::new(-1),
            applied_at: watch::Sender::new(AppliedAt { revision: Revision(-1), at: Boottime(0) }),
            head: AtomicI64::new(-1),
            storage_answers: AtomicBool::new(false),
            log_divergences: AtomicU64::new(0),
            fenced: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            clock_steps: AtomicU64::new(0),
            wake: Notify::new(),
            timings,
            observed: Mutex::new(Observed::default()),
            me: Mutex::new(None),
        }
    }

    /// Reads the clock, and proves that this replica may answer.
    ///
    /// Call it before the index is read. A change that has returned was either applied by this replica, or waited until
    /// the lease of this replica was over.
    ///
    /// # Errors
    /// [`NoLease`].
    pub fn lease_proof(&self) -> Result<LeaseProof, NoLease> {
        let deadline = Boottime(self.deadline.load(Ordering::Acquire));
        let now = boottime();
        if !lease::may_answer(deadline, now) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(NoLease);
        }
        Ok(LeaseProof { now: self.clock.at(now), revision: self.applied() })
    }

    /// Looks one token up, as [`IndexGuard::find`] does, for a caller that keeps the record.
    ///
    /// [`IndexGuard::find`]: crate::index::IndexGuard::find
    pub fn find(&self, lease: LeaseProof, digests: impl IntoIterator<Item = TokenDigest>) -> Option<SharedKeyRecord> {
        self.index.read().find(lease, digests).cloned()
    }

    /// Returns the authority's time, with a lease or without. Use it to show states and as the lower bound of a
    /// change's time, never to accept a token.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.clock.at(boottime())
    }

    /// Records that a token was accepted.
    pub fn note_use(&self, record: &SharedKeyRecord, now: Timestamp) {
        self.usage.note(record, now);
    }

    /// Returns when this replica last accepted any of these versions of a key, flushed or not.
    pub fn last_used_time(&self, digests: impl IntoIterator<Item = TokenDigest>) -> Option<Timestamp> {
        digests.into_iter().filter_map(|digest| self.index.get(&digest)?.last_used_time()).max()
    }

    /// Returns the recorded use that is not flushed yet.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Returns the revision up to which the log is applied; -1 before the first reading.
    #[must_use]
    pub fn applied(&self) -> Revision {
        Revision(self.applied.load(Ordering::Acquire))
    }

    /// Returns the end of the log at its last reading; -1 before the first one.
    #[must_use]
    pub fn head(&self) -> Revision {
        Revision(self.head.load(Ordering::Relaxed))
    }

    pub(crate) fn set_head(&self, head: Revision) {
        self.head.store(head.0, Ordering::Relaxed);
    }

    pub(crate) fn watch_applied_at(&self) -> watch::Receiver<AppliedAt> {
        self.applied_at.subscribe()
    }

    /// Returns how much longer the lease lasts; zero without a lease.
    #[must_use]
    pub fn lease_remaining(&self) -> Duration {
        Boottime(self.deadline.load(Ordering::Acquire)).since(boottime())
    }

    /// Whether the database answered the last statement of the replicator.
    #[must_use]
    pub fn storage_answers(&self) -> bool {
        self.storage_answers.load(Ordering::Relaxed)
    }

    /// Returns how often the database was seen to have gone back.
    #[must_use]
    pub fn log_divergences(&self) -> u64 {
        self.log_divergences.load(Ordering::Relaxed)
    }

    /// Returns how many silent replicas this one has removed from the registry.
    #[must_use]
    pub fn fenced(&self) -> u64 {
        self.fenced.load(Ordering::Relaxed)
    }

    /// Returns how many questions were not answered because there was no lease.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether this replica may answer.
    #[must_use]
    pub fn has_lease(&self) -> bool {
        lease::may_answer(Boottime(self.deadline.load(Ordering::Acquire)), boottime())
    }

    /// Returns the resident index.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Returns the durations of the lease.
    #[must_use]
    pub fn timings(&self) -> LeaseTimings {
        self.timings
    }

    /// Returns the ID under which this replica last joined; `None` before its first join.
    #[must_use]
    pub fn me(&self) -> Option<ReplicaId> {
        *self.me.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how long ago each replica's row was seen to change.
    #[must_use]
    pub fn silences(&self) -> HashMap<ReplicaId, Duration> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).silences(boottime())
    }

    pub(crate) fn set_me(&self, id: ReplicaId) {
        *self.me.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
    }

    /// Publishes the state of the lease, and returns whether the database was seen to go back since the last call. Without
    /// an authority in the index, there is no lease to answer under: every token would be unknown.
    pub(crate) fn set_lease(&self, lease: &Lease, has_authority: bool) -> bool {
        let deadline = if has_authority { lease.deadline() } else { Boottime(0) };
        self.deadline.store(deadline.0, Ordering::Release);
        let applied_at = AppliedAt { revision: lease.applied().revision, at: lease.applied_as_of() };
        self.applied.store(applied_at.revision.0, Ordering::Release);
        self.applied_at.send_if_modified(|before| std::mem::replace(before, applied_at) != applied_at);
        self.log_divergences.swap(lease.log_divergences(), Ordering::Relaxed) != lease.log_divergences()
    }

    /// Ends the lease.
    pub(crate) fn end_lease(&self) {
        self.deadline.store(0, Ordering::Release);
    }

    /// Returns how often the database's clock was seen to step.
    #[must_use]
    pub fn clock_steps(&self) -> u64 {
        self.clock_steps.load(Ordering::Relaxed)
    }

    /// Returns how far the authority's time is ahead of the database's clock; see [`AuthorityClock`].
    #[must_use]
    pub fn clock_ahead(&self) -> Duration {
        self.clock.ahead(boottime())
    }

    /// Sets the clock from the database's answer to a statement that was sent at `sent` and answered at `now`.
    pub(crate) fn set_clock(&self, reading: Timestamp, newest: Timestamp, sent: Boottime, now: Boottime) {
        let Some(ClockStep { by_us }) = self.clock.set(reading, newest, sent, now) else { return };
        self.clock_steps.fetch_add(1, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "in a step of centuries, microseconds do not matter")]
        let by_seconds = by_us as f64 / 1e6;
        tracing::error!(
            by_seconds,
            ahead_seconds = self.clock_ahead().as_secs_f64(),
            "the database's clock stepped; the authority's time does not go back"
        );
    }

    /// Records whether the database answers, and returns whether that changed.
    pub(crate) fn set_storage_answers(&self, answers: bool) -> bool {
        self.storage_answers.swap(answers, Ordering::Relaxed) != answers
    }

    pub(crate) fn count_fenced(&self) {
        self.fenced.fetch_add(1, Ordering::Relaxed);
    }
}
