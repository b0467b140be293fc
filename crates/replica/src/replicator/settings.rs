//! What a replicator needs to know, and why it may end.

use std::sync::Arc;
use std::time::Duration;

use key_authority_domain::secret::Keyring;

use crate::protocol::timings::LeaseTimings;
use crate::state::Entropy;

/// How a replicator reaches the database, and what it is there.
#[derive(Debug)]
pub struct Settings {
    /// The database.
    pub database_url: String,
    /// Where it notifies of commits, if it does: PostgreSQL alone.
    pub notify_url: Option<String>,
    /// The keys of the authority secret.
    pub keyring: Arc<Keyring>,
    /// The replica.
    pub replica: ReplicaConfig,
}

/// One replica among the others.
#[derive(Debug)]
pub struct ReplicaConfig {
    /// The durations that all replicas agree on.
    pub timings: LeaseTimings,
    /// Whether no other server can work on this database: then a heartbeat that cannot be written, for want of space, is not
    /// needed.
    pub is_alone: bool,
    /// Which build this is, for the registry.
    pub build: String,
    /// Where this replica listens, for the registry.
    pub address: String,
    /// The source of replica IDs and nonces.
    pub entropy: Entropy,
}

/// The replicator ended although nobody asked it to. A process must not go on without one: it would never have a lease
/// again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndError {
    /// All other replicas keep to another lease now.
    #[error(
        "the lease was changed from {mine:?} to {stored:?} while this replica was not registered: restart it, so that it \
         agrees with the others"
    )]
    OtherLease {
        /// The lease of this replica.
        mine: Duration,
        /// The one in the database.
        stored: Duration,
    },
    /// The log has events that this build would misread.
    #[error(
        "the log has events of format {needed}, and this build understands format {known}: run the build that the other \
         replicas run, or a newer one"
    )]
    LogFormat {
        /// What this build understands.
        known: u32,
        /// What the log needs.
        needed: u32,
    },
    /// A fault of ours; what it was stands on standard error.
    #[error("the replicator's thread panicked")]
    Panicked,
}
