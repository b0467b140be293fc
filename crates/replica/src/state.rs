//! What the replicator shares with those who answer: the index, the deadline of the lease, the authority's clock, and up
//! to where the log is applied.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;
use tokio::sync::{Notify, watch};

use crate::clock::{Boottime, ClockStep, WallClock, boottime};
use crate::index::{Index, Record};
use crate::proof::LeaseProof;
use crate::protocol::lease::{self, Lease};
use crate::protocol::observed::Observed;
use crate::protocol::timings::LeaseTimings;
use crate::usage::Usage;

/// A source of random bytes.
pub type Entropy = fn(&mut [u8]) -> Result<(), std::io::Error>;

/// The replica may not answer: it has not heard of changes for too long. Not a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this replica has no lease: it cannot tell whether what it knows still holds")]
pub struct NoLease;

/// What one replica knows. Written by the replicator alone.
#[derive(Debug)]
pub struct ReplicaState {
    pub(crate) index: Arc<Index>,
    /// Boottime in nanoseconds; 0 is no lease.
    deadline: AtomicU64,
    clock: WallClock,
    usage: Usage,
    applied: AtomicI64,
    /// The same, for those who wait for it; Verify does not take its lock.
    known: watch::Sender<AppliedAt>,
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

/// Up to where the log is applied, and when that was its end.
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
            clock: WallClock::default(),
            usage: Usage::default(),
            applied: AtomicI64::new(-1),
            known: watch::Sender::new(AppliedAt { revision: Revision(-1), at: Boottime(0) }),
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

    /// Reads the clock, and whether this replica may answer. To be done before the index is read: a replica that does not
    /// know of a change that had returned has no lease any more, or was waited for.
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

    /// Looks one token up, as [`IndexGuard::find`] does, for whoever keeps what is found.
    ///
    /// [`IndexGuard::find`]: crate::index::IndexGuard::find
    pub fn find(&self, lease: LeaseProof, digests: impl IntoIterator<Item = TokenDigest>) -> Option<Record> {
        self.index.read().find(lease, digests).cloned()
    }

    /// The authority's time, lease or not: for showing states and as the least time of a change, never for letting a token
    /// pass.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.clock.at(boottime())
    }

    /// Notes that a token passed.
    pub fn note_use(&self, secret: &Record, now: Timestamp) {
        self.usage.note(secret, now);
    }

    /// When any of these versions of a key last passed here, written down or not.
    pub fn last_used_time(&self, digests: impl IntoIterator<Item = TokenDigest>) -> Option<Timestamp> {
        digests.into_iter().filter_map(|digest| self.index.get(&digest)?.last_used_time()).max()
    }

    /// What was noted and is not written down yet.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Up to where the log is applied; -1 before the first.
    #[must_use]
    pub fn applied(&self) -> Revision {
        Revision(self.applied.load(Ordering::Acquire))
    }

    /// The end of the log, when it was last read; -1 before the first time.
    #[must_use]
    pub fn head(&self) -> Revision {
        Revision(self.head.load(Ordering::Relaxed))
    }

    pub(crate) fn set_head(&self, head: Revision) {
        self.head.store(head.0, Ordering::Relaxed);
    }

    pub(crate) fn watch_applied_at(&self) -> watch::Receiver<AppliedAt> {
        self.known.subscribe()
    }

    /// How long the lease still lasts; nothing when there is none.
    #[must_use]
    pub fn lease_remaining(&self) -> Duration {
        Boottime(self.deadline.load(Ordering::Acquire)).since(boottime())
    }

    /// Whether the database answered when it was last asked.
    #[must_use]
    pub fn storage_answers(&self) -> bool {
        self.storage_answers.load(Ordering::Relaxed)
    }

    /// How often the database was seen to have gone back.
    #[must_use]
    pub fn log_divergences(&self) -> u64 {
        self.log_divergences.load(Ordering::Relaxed)
    }

    /// How many silent replicas this one has removed from the registry.
    #[must_use]
    pub fn fenced(&self) -> u64 {
        self.fenced.load(Ordering::Relaxed)
    }

    /// How many questions were not answered for want of a lease.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether this replica may answer.
    #[must_use]
    pub fn has_lease(&self) -> bool {
        !self.lease_remaining().is_zero()
    }

    /// The resident index.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The durations that the lease sets.
    #[must_use]
    pub fn timings(&self) -> LeaseTimings {
        self.timings
    }

    /// The name of this replica; None while it joins.
    #[must_use]
    pub fn me(&self) -> Option<ReplicaId> {
        *self.me.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For each replica, how long ago its row was seen to change.
    #[must_use]
    pub fn silences(&self) -> HashMap<ReplicaId, Duration> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).silences(boottime())
    }

    pub(crate) fn set_me(&self, id: Option<ReplicaId>) {
        *self.me.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    /// Shows the state of the lease, and says whether the database was seen to go back since the last time.
    pub(crate) fn set_lease(&self, lease: &Lease) -> bool {
        self.deadline.store(lease.deadline().0, Ordering::Release);
        let known = AppliedAt { revision: lease.applied().revision, at: lease.known() };
        self.applied.store(known.revision.0, Ordering::Release);
        self.known.send_if_modified(|before| std::mem::replace(before, known) != known);
        self.log_divergences.swap(lease.log_divergences(), Ordering::Relaxed) != lease.log_divergences()
    }

    /// Gives the lease up.
    pub(crate) fn end_lease(&self) {
        self.deadline.store(0, Ordering::Release);
    }

    /// How often the database's clock was seen to step.
    #[must_use]
    pub fn clock_steps(&self) -> u64 {
        self.clock_steps.load(Ordering::Relaxed)
    }

    /// How far the authority's time is ahead of the database's clock; see [`WallClock`].
    #[must_use]
    pub fn clock_ahead(&self) -> Duration {
        self.clock.ahead(boottime())
    }

    /// Sets the time from an answer of the database to a question that was sent at `asked`.
    pub(crate) fn set_clock(&self, said: Timestamp, newest: Timestamp, asked: Boottime, now: Boottime) {
        let Some(ClockStep { by_us }) = self.clock.set(said, newest, asked, now) else { return };
        self.clock_steps.fetch_add(1, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "of a step of centuries, nobody needs the microseconds")]
        let by_seconds = by_us as f64 / 1e6;
        tracing::error!(
            by_seconds,
            ahead_seconds = self.clock_ahead().as_secs_f64(),
            "the database's clock stepped; expiry is judged by a time that does not go back"
        );
    }

    /// Notes whether the database answers, and says whether that is new.
    pub(crate) fn set_storage_answers(&self, answers: bool) -> bool {
        self.storage_answers.swap(answers, Ordering::Relaxed) != answers
    }

    pub(crate) fn count_fenced(&self) {
        self.fenced.fetch_add(1, Ordering::Relaxed);
    }
}
