//! One replica: the resident index, and the lease that allows it to answer from the index.
//!
//! The modules form layers; each uses only those above it in this list.
//!
//! - [`clock`]: the only module that reads a clock.
//! - [`protocol`]: the lease, the wait for propagation and the observation of other replicas, as state machines
//!   without I/O.
//! - [`index`]: every account and key in memory, so that Verify never waits for a database.
//! - [`usage`]: when keys were last used, counted in memory and written in batches.
//! - [`ReplicaState`]: what the replicator shares with the tasks that answer calls.
//! - [`ledger`]: the port to the database and to time.
//! - [`propagator`]: waits until every replica enforces a change.
//! - [`replicator`]: the thread that drives the lease: join, follow the log, apply, confirm.
//! - [`agreement`]: how the replicas agree on one lease.
//!
//! Verify reads the index and the lease and nothing else. It awaits nothing, writes nothing but its own counters, and
//! takes no lock that the replicator could hold.

pub mod agreement;
pub mod clock;
mod failure_log;
pub mod index;
pub mod ledger;
mod proof;
pub mod propagator;
pub mod protocol;
pub mod replicator;
mod state;
pub mod usage;

pub use proof::LeaseProof;
pub use state::{Entropy, NoLease, ReplicaState};
