//! What one replica knows, and how it knows that it still may say so.
//!
//! A ladder: each rung uses only those above it in this list.
//!
//! - [`clock`]: the one place that asks what time it is.
//! - [`protocol`]: the lease, the wait for propagation and what is observed of other replicas, as state machines without I/O.
//! - [`index`]: every account and key, resident, so that Verify never waits for a database.
//! - [`usage`]: when keys were last used, counted in memory and written in batches.
//! - [`ReplicaState`]: what the replicator shares with those who answer.
//! - [`ledger`]: the port to the database and to time.
//! - [`propagator`]: waits until every replica enforces a change.
//! - [`replicator`]: the thread that drives the lease: join, follow the log, apply, confirm.
//! - [`agreement`]: how the replicas agree on one lease.
//!
//! Verify reads the index and the lease and nothing else: it awaits nothing, writes nothing but its own counters, and
//! takes no lock that the replicator could hold.

pub mod agreement;
pub mod clock;
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
