//! What the model is run with: the lengths of time, and the one thing that is done wrong, if any.
//!
//! A flaw is always in what surrounds the production code (what it is told, or what is done with its answer), never in it.

use std::time::Duration;

use key_authority_replica::protocol::timings::LeaseTimings;

use crate::world::TICK;

/// How much longer than the lease a change waits, for the sake of the next one.
pub(crate) const GRACE: Duration = TICK;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Ticks that a replica trusts a heartbeat.
    pub(crate) trust: u64,
    /// Ticks that a change waits for a silent replica.
    pub(crate) wait: u64,
    /// Whether time alone ends the wait, as it does for a server that cannot read the registry.
    pub(crate) ends_by_time: bool,
    /// How many replicas there can be.
    pub(crate) seats: usize,
    /// Whether the replicas have joined and have a lease when the search begins.
    pub(crate) is_settled: bool,
    pub(crate) besides: Besides,
    pub(crate) flaw: Option<Flaw>,
}

impl Rules {
    /// The protocol as we run it, with no slack between trusting and waiting.
    pub(crate) const OURS: Self = Self {
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

/// What happens besides the revocation and the steps of replicas. Each multiplies the states, and none bears on
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Besides {
    Nothing,
    /// Something else is changed before the key is revoked.
    ChangeBefore,
    /// Something else is changed after the key was revoked.
    ChangeAfter,
    /// Something else is changed while the key is revoked. Only when revisions come from a sequence.
    ChangeBetween,
    /// An UPDATE that a replica has given up can arrive later.
    StrayUpdates,
}

/// A tempting way to do it that is not safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A Verify asks for no lease, and a change waits for nobody.
    NoLease,
    /// A silent row is taken for one that has lapsed, and not removed.
    NoFence,
    /// The lease counts from the answer to the heartbeat.
    LeaseFromReply,
    /// That the UPDATE hit no row is not looked at.
    MissedUpdateIgnored,
    /// The index is written after the confirmation.
    ConfirmBeforeApply,
    /// The lease is renewed whether the log could be read or not.
    RenewalWithoutReading,
    /// The log is read from a follower of the database.
    ReadFromFollower,
    /// Revisions come from a sequence, so that a lower one may be committed later.
    RevisionFromSequence,
    /// A replica that joins is not waited for.
    JoiningIgnored,
    /// A repeated call is answered at once, as the key is revoked already.
    RepeatedCallReturnsAtOnce,
    /// A silent row is removed whether it has changed since or not.
    FenceWithoutCompare,
    /// That a row is unchanged counts from when it was asked for, not from when it was received.
    SilenceFromSending,
}

/// That many ticks.
pub(crate) fn ticks(count: u64) -> Duration {
    Duration::from_nanos(count)
}
