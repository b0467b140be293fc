//! How the connections that the database accepts are divided: among the replicator, changes, reads, usage and LISTEN.
//!
//! A change must not wait for reads, so the parts are separate as long as there are enough connections. If there are
//! few, calls wait for their turn instead of failing.

use super::config::Config;
use super::startup::{self, SUBCOMMAND_CONNECTIONS, StartupError};

/// One connection for the running change, the others for changes that wait for propagation.
const CHANGES_MAX: u32 = 4;
/// The replicator, a change and a read.
const TOTAL_MIN: u32 = 3;
/// What is left for the subcommands, if there is more than the minimum.
const LEFT_FREE: u32 = SUBCOMMAND_CONNECTIONS;

/// The connections of each part of the server. The replicator has one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionPlan {
    /// For reads by admin calls.
    pub(super) reads: u32,
    /// For changes and their propagation.
    pub(super) changes: u32,
    /// Whether usage is written with a connection of its own. If not, it takes one of [`ConnectionPlan::reads`].
    pub(super) has_usage: bool,
    /// Whether a session listens for notifications of commits. If not, the log is polled.
    pub(super) listens: bool,
}

impl ConnectionPlan {
    /// Divides the connections that the database accepts now.
    ///
    /// # Errors
    /// [`StartupError`]: the database cannot be reached, accepts too few connections, or is behind a pooler that shares
    /// sessions.
    pub(super) async fn agree(config: &Config) -> Result<Self, StartupError> {
        let wanted = Self::full(config.database.connections, config.database.notify_url.is_some());
        let free = startup::sessions(config, wanted.total() + LEFT_FREE).await?;
        let Some(plan) = wanted.within(usable(free)) else {
            return Err(StartupError::TooFewConnections { free, needed: TOTAL_MIN });
        };
        if plan != wanted {
            let wanted = wanted.total() + LEFT_FREE;
            tracing::warn!(free, wanted, "the database accepts few connections; calls may wait for their turn");
        }
        Ok(plan)
    }

    fn full(reads: u32, listens: bool) -> Self {
        Self { reads, changes: reads.min(CHANGES_MAX), has_usage: true, listens }
    }

    fn total(self) -> u32 {
        1 + self.changes + self.reads + u32::from(self.has_usage) + u32::from(self.listens)
    }

    /// Returns the plan for `free` connections; `None` if they are too few. The first three are necessary, the next two
    /// are for usage and LISTEN, and the others are for changes and reads in turn.
    fn within(self, free: u32) -> Option<Self> {
        if free < TOTAL_MIN {
            return None;
        }
        let mut plan = Self { reads: 1, changes: 1, has_usage: false, listens: false };
        plan.has_usage = self.has_usage && free > plan.total();
        plan.listens = self.listens && free > plan.total();
        while free > plan.total() && plan != self {
            if plan.changes < self.changes && plan.changes <= plan.reads {
                plan.changes += 1;
            } else if plan.reads < self.reads {
                plan.reads += 1;
            } else {
                plan.changes += 1;
            }
        }
        Some(plan)
    }
}

/// How many of the free connections the server uses.
fn usable(free: u32) -> u32 {
    free.saturating_sub(LEFT_FREE).max(free.min(TOTAL_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_connections_is_divided_without_a_rest() {
        for (reads, listens) in [(1, false), (1, true), (10, false), (10, true), (200, true)] {
            let wanted = ConnectionPlan::full(reads, listens);
            for free in 0..=wanted.total() {
                let plan = wanted.within(free);
                assert_eq!(plan.is_none(), free < TOTAL_MIN, "{free}");
                assert!(plan.is_none_or(|plan| plan.total() == free && plan.reads > 0 && plan.changes > 0), "{plan:?}");
            }
            assert_eq!(wanted.within(wanted.total()), Some(wanted));
        }
    }

    #[test]
    fn connections_are_left_for_subcommands_beyond_the_minimum() {
        assert_eq!([0, 2, 3, 4, 5, 6, 19].map(usable), [0, 2, 3, 3, 3, 4, 17]);
    }

    #[test]
    fn few_connections_are_for_what_is_necessary() {
        let within = |free| ConnectionPlan::full(10, true).within(free);
        let plan = |reads, changes, has_usage, listens| Some(ConnectionPlan { reads, changes, has_usage, listens });
        assert_eq!(within(3), plan(1, 1, false, false));
        assert_eq!(within(4), plan(1, 1, true, false));
        assert_eq!(within(5), plan(1, 1, true, true));
        assert_eq!(within(7), plan(2, 2, true, true));
        assert_eq!(within(17), plan(10, 4, true, true));
        assert_eq!(ConnectionPlan::full(10, false).total(), 16);
    }
}
