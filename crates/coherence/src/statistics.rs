//! What happened in a run, so that nobody takes a quiet run for a proof.

use std::fmt;

/// Counts, of one run or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Runs.
    pub runs: u64,
    /// What was planned and happened.
    pub events: u64,
    /// Changes that returned with every replica confirmed.
    pub confirmed: u64,
    /// Changes that returned because a replica was waited out.
    pub lapsed: u64,
    /// Calls for a change that ended without an answer that helps.
    pub unanswered: u64,
    /// Calls that found their request done already, and waited again.
    pub repeated: u64,
    /// Commits whose answer was lost.
    pub commits_lost: u64,
    /// Those of which it was then found out that they stand.
    pub commits_settled: u64,
    /// Calls of Verify that let a key pass.
    pub accepted: u64,
    /// Calls of Verify that denied one.
    pub denied: u64,
    /// Calls of Verify to a replica without a lease.
    pub unavailable: u64,
    /// Calls of Verify that were answered while the revocation of their key was under way.
    pub racing: u64,
    /// Those of them that let it pass.
    pub racing_accepted: u64,
    /// Rows that were added to the registry.
    pub joins: u64,
    /// Heartbeats that found their row gone.
    pub rejoins: u64,
    /// Silent rows that were removed.
    pub fenced: u64,
    /// Pauses of a process.
    pub pauses: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// Processes that left in order.
    pub leaves: u64,
    /// Links that were cut.
    pub cuts: u64,
    /// Times that the database went away, or stood still.
    pub outages: u64,
    /// Times that the database did not write.
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

    /// The first thing that never happened; none when everything did.
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
