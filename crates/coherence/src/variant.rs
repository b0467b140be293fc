//! The naive variants: what somebody might do instead, each of which lets a revoked key pass. They are switches of the
//! simulated surroundings; production has none.

use std::fmt;

use crate::check::Kind;

/// A tempting mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Verify does not ask for the lease.
    NoLease,
    /// A change returns when it is committed, and replicas hear of it.
    EventsOnly,
    /// A silent row is disregarded, but not removed.
    NoFence,
    /// The lease counts from the answer to the heartbeat.
    LeaseFromReply,
    /// A replica whose row is gone goes on.
    IgnoreZeroRows,
    /// The revision is confirmed first, and applied afterwards.
    ConfirmBeforeApply,
    /// Most heartbeats confirm without having read the log.
    BareRenewal,
    /// The log is read from a copy that lags behind.
    FollowerRead,
    /// Revisions come from a sequence, without the lock.
    Sequence,
    /// A replica that joins is not waited for.
    JoiningNotCounted,
    /// A repeated request, or one for a key that is revoked already, is answered at once.
    RepeatedAtOnce,
    /// A silent row is removed even if it has changed meanwhile.
    CleanupWithoutCompare,
    /// Replicas trust a heartbeat for longer than a change waits.
    TrustTooLong,
    /// The rates of two clocks differ by more than a quarter.
    WildClocks,
    /// How long a row has been unchanged counts from when it was asked for.
    SilentFromSending,
    /// Removing a silent row may take as long as the statement takes, although the wait is over.
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

    /// What it breaks. Nothing else is checked when it runs: a mistake must be found by its harm.
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
