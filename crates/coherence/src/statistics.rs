//! Counts of what happened in a run, to show that it exercised the protocol.

use std::fmt;

/// The counts of one or more runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Runs.
    pub runs: u64,
    /// Events of the scheduler.
    pub events: u64,
    /// Changes that every replica confirmed.
    pub confirmed: u64,
    /// Changes that waited for a lease to expire.
    pub lapsed: u64,
    /// Calls for a change that got no usable answer.
    pub unanswered: u64,
    /// Calls whose request was already executed, and which waited again.
    pub repeated: u64,
    /// Commits whose answer was lost.
    pub commits_lost: u64,
    /// Those that the server resolved as committed.
    pub commits_settled: u64,
    /// Verifies that accepted a key.
    pub accepted: u64,
    /// Verifies that denied a key.
    pub denied: u64,
    /// Verifies at a replica without a lease.
    pub unavailable: u64,
    /// Verifies that overlapped with the revocation of their key.
    pub racing: u64,
    /// Those that accepted the key.
    pub racing_accepted: u64,
    /// Rows added to the registry.
    pub joins: u64,
    /// Heartbeats whose row was gone.
    pub rejoins: u64,
    /// Silent rows that were removed.
    pub fenced: u64,
    /// Pauses of processes.
    pub pauses: u64,
    /// Killed processes.
    pub kills: u64,
    /// Processes that left gracefully.
    pub leaves: u64,
    /// Cut links.
    pub cuts: u64,
    /// Outages and freezes of the database.
    pub outages: u64,
    /// Periods in which the database was read-only.
    pub read_only: u64,
}

impl Statistics {
    /// Each count with its name.
    fn counts(&self) -> [(&'static str, u64); 22] {
        [
            ("runs", self.runs),
            ("events", self.events),
            ("changes confirmed", self.confirmed),
            ("changes lapsed", self.lapsed),
            ("calls unanswered", self.unanswered),
            ("calls repeated", self.repeated),
            ("commits lost", self.commits_lost),
            ("commits settled", self.commits_settled),
            ("verifies accepted", self.accepted),
            ("verifies denied", self.denied),
            ("verifies unavailable", self.unavailable),
            ("verifies racing", self.racing),
            ("verifies racing, accepted", self.racing_accepted),
            ("joins", self.joins),
            ("rejoins", self.rejoins),
            ("rows fenced", self.fenced),
            ("pauses", self.pauses),
            ("kills", self.kills),
            ("leaves", self.leaves),
            ("links cut", self.cuts),
            ("outages", self.outages),
            ("times without writing", self.read_only),
        ]
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.events += other.events;
        self.confirmed += other.confirmed;
        self.lapsed += other.lapsed;
        self.unanswered += other.unanswered;
        self.repeated += other.repeated;
        self.commits_lost += other.commits_lost;
        self.commits_settled += other.commits_settled;
        self.accepted += other.accepted;
        self.denied += other.denied;
        self.unavailable += other.unavailable;
        self.racing += other.racing;
        self.racing_accepted += other.racing_accepted;
        self.joins += other.joins;
        self.rejoins += other.rejoins;
        self.fenced += other.fenced;
        self.pauses += other.pauses;
        self.kills += other.kills;
        self.leaves += other.leaves;
        self.cuts += other.cuts;
        self.outages += other.outages;
        self.read_only += other.read_only;
    }

    /// The name of the first count that is 0; None if there is none.
    #[must_use]
    pub fn never(&self) -> Option<&'static str> {
        self.counts().into_iter().find(|(_, count)| *count == 0).map(|(name, _)| name)
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.counts() {
            writeln!(f, "{count:>15} {name}")?;
        }
        Ok(())
    }
}
