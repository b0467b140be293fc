//! The unsafe variants: tempting simplifications of the protocol, each of which violates a promise. They are switches
//! of the simulation; production has none of them.

use std::fmt;

use crate::check::Kind;

/// An unsafe variant of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Verify does not check the lease.
    NoLease,
    /// A change returns after the commit, and relies on notifications.
    EventsOnly,
    /// A silent row is ignored, but not removed.
    NoFence,
    /// The lease counts from the answer to the heartbeat, not from its start.
    LeaseFromReply,
    /// A replica whose row is gone keeps its lease.
    IgnoreZeroRows,
    /// A revision is confirmed before it is applied.
    ConfirmBeforeApply,
    /// Most heartbeats confirm without reading the log.
    BareRenewal,
    /// The log is read from a lagging follower.
    FollowerRead,
    /// Revisions come from a sequence, without the lock.
    Sequence,
    /// A change does not wait for a joining replica.
    JoiningNotCounted,
    /// A repeated request, or one for a revoked key, is answered without waiting.
    RepeatedAtOnce,
    /// A silent row is removed even if it has changed since.
    CleanupWithoutCompare,
    /// Replicas trust a heartbeat for longer than a change waits.
    TrustTooLong,
    /// The rates of two clocks differ by more than a quarter.
    WildClocks,
    /// Silence counts from the sending of the query, not from the receipt of its answer.
    SilentFromSending,
    /// The removal of a silent row has no deadline, although the wait has one.
    UnboundedFence,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::NoLease,
        Self::EventsOnly,
        Self::NoFence,
        Self::LeaseFromReply,
        Self::IgnoreZeroRows,
        Self::ConfirmBeforeApply,
        Self::BareRenewal,
        Self::FollowerRead,
        Self::Sequence,
        Self::JoiningNotCounted,
        Self::RepeatedAtOnce,
        Self::CleanupWithoutCompare,
        Self::TrustTooLong,
        Self::WildClocks,
        Self::SilentFromSending,
        Self::UnboundedFence,
    ];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoLease => "no-lease",
            Self::EventsOnly => "events-only",
            Self::NoFence => "no-fence",
            Self::LeaseFromReply => "lease-from-reply",
            Self::IgnoreZeroRows => "ignore-zero-rows",
            Self::ConfirmBeforeApply => "confirm-before-apply",
            Self::BareRenewal => "bare-renewal",
            Self::FollowerRead => "follower-read",
            Self::Sequence => "sequence",
            Self::JoiningNotCounted => "joining-not-counted",
            Self::RepeatedAtOnce => "repeated-at-once",
            Self::CleanupWithoutCompare => "cleanup-without-compare",
            Self::TrustTooLong => "trust-too-long",
            Self::WildClocks => "wild-clocks",
            Self::SilentFromSending => "silent-from-sending",
            Self::UnboundedFence => "unbounded-fence",
        }
    }

    /// The violation that it causes. Only this kind is checked, so that the variant is found by its harm.
    #[must_use]
    pub fn breaks(self) -> Kind {
        if self == Self::UnboundedFence { Kind::WaitedTooLong } else { Kind::AcceptedRevoked }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
