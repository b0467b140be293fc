//! The configuration of a replicator, and the reasons for which it ends.

use std::sync::Arc;
use std::time::Duration;

use key_authority_domain::secret::Keyring;

use crate::protocol::timings::LeaseTimings;
use crate::state::Entropy;

/// How a replicator reaches the database, and the replica that it runs.
#[derive(Debug)]
pub struct Settings {
    /// The URL of the database.
    pub database_url: String,
    /// The URL at which the database notifies of commits; PostgreSQL only.
    pub notify_url: Option<String>,
    /// The keyring of the authority secret.
    pub keyring: Arc<Keyring>,
    /// The configuration of the replica.
    pub replica: ReplicaConfig,
}

/// The configuration of one replica.
#[derive(Debug)]
pub struct ReplicaConfig {
    /// The durations that all replicas agree on.
    pub timings: LeaseTimings,
    /// Whether no other server can work on this database. If so, a heartbeat that cannot be written, because the disk
    /// is full or another process holds the lock of the file, is not needed.
    pub is_alone: bool,
    /// The build of this replica, for the registry.
    pub build: String,
    /// The address at which this replica listens, for the registry.
    pub address: String,
    /// The source of random bytes for replica IDs and nonces.
    pub entropy: Entropy,
}

/// Why the replicator ended without being stopped. The process must not continue without it: it would never have a
/// lease again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndError {
    /// All other replicas use another lease now.
    #[error(
        "the lease was changed from {configured:?} to {stored:?} while this replica was not registered: restart it so \
         that it agrees with the others"
    )]
    OtherLease {
        /// The lease of this replica.
        configured: Duration,
        /// The one in the database.
        stored: Duration,
    },
    /// The log has events that this build would misread.
    #[error(
        "the log has events of format {needed}, and this build understands format {known}: run the build of the other \
         replicas, or a newer one"
    )]
    LogFormat {
        /// The log format that this build understands.
        known: u32,
        /// The log format that the log needs.
        needed: u32,
    },
    /// The keys cannot be loaded from an `SQLite` file.
    #[error("the SQLite file is damaged; restore a backup: {cause}")]
    Damaged {
        /// What SQLite found.
        cause: String,
    },
    /// The thread panicked; the panic message is on standard error.
    #[error("the replicator's thread panicked")]
    Panicked,
}
