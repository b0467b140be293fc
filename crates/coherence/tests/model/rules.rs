//! The parameters of the model: time constants, and at most one flaw.
//!
//! A flaw is always in the surroundings of the production code (in its input, or in the use of its output), never in
//! it.

use std::time::Duration;

use key_authority_replica::protocol::timings::LeaseTimings;

use crate::world::TICK;

/// How much longer than the lease a change waits, so that the next change need not.
pub(crate) const GRACE: Duration = TICK;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// How many ticks a replica trusts a heartbeat.
    pub(crate) trust: u64,
    /// How many ticks a change waits for a silent replica.
    pub(crate) wait: u64,
    /// Whether the wait has a time limit, for a server that cannot read the registry.
    pub(crate) ends_by_time: bool,
    /// The maximum number of replicas.
    pub(crate) seats: usize,
    /// Whether the replicas already have a lease in the initial state.
    pub(crate) is_settled: bool,
    pub(crate) besides: Besides,
    pub(crate) flaw: Option<Flaw>,
}

impl Rules {
    /// The protocol of production, with the trust as long as the wait.
    pub(crate) const PRODUCTION: Self = Self {
        trust: 2,
        wait: 2,
        ends_by_time: true,
        seats: 1,
        is_settled: false,
        besides: Besides::Nothing,
        flaw: None,
    };

    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub(crate) fn terms(&self) -> LeaseTimings {
        LeaseTimings { wait: ticks(self.wait), trust: ticks(self.trust), heartbeat: TICK }
    }
}

/// Additional actions besides the revocation and the steps of replicas. Each multiplies the states, so a search has
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Besides {
    Nothing,
    /// Another object is changed before the revocation.
    ChangeBefore,
    /// Another object is changed after the revocation.
    ChangeAfter,
    /// Another object is changed during the revocation. Only with revisions from a sequence.
    ChangeBetween,
    /// An UPDATE that timed out can arrive later.
    StrayUpdates,
}

/// An unsafe variant of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A Verify checks no lease, and a change does not wait.
    NoLease,
    /// A silent row counts as lapsed, but is not removed.
    NoFence,
    /// The lease counts from the answer to the heartbeat, not from its start.
    LeaseFromReply,
    /// An UPDATE that hits no row is ignored.
    MissedUpdateIgnored,
    /// A revision is confirmed before it is applied.
    ConfirmBeforeApply,
    /// The lease is renewed without reading the log.
    RenewalWithoutReading,
    /// The log is read from a follower of the database.
    ReadFromFollower,
    /// Revisions come from a sequence, so a lower one may be committed later.
    RevisionFromSequence,
    /// A change does not wait for a joining replica.
    JoiningIgnored,
    /// A repeated call returns without waiting.
    RepeatedCallReturnsAtOnce,
    /// A silent row is removed even if it has changed since.
    FenceWithoutCompare,
    /// Silence counts from the sending of the query, not from the receipt of the row.
    SilenceFromSending,
}

/// A duration of this many ticks.
pub(crate) fn ticks(count: u64) -> Duration {
    Duration::from_nanos(count)
}
