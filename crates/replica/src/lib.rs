//! What one replica knows, and how it knows that it still may say so.
//!
//! - [`index`]: every account and key, resident, so that Verify never waits for a database.
//! - [`lease`]: the right to answer from memory, as a state machine without I/O.
//! - [`replicator`]: the thread that drives it: join, follow the log, apply, confirm.
//! - [`propagation`]: waiting until a change is everywhere.
//! - [`terms`]: how long things last, on which all replicas agree.
//! - [`usage`]: when keys were last used, gathered off the path and written in batches.
//! - [`clock`]: the one place that asks what time it is.
//!
//! Verify reads the index and the lease and nothing else: it awaits nothing, writes nothing but its own counters, and
//! takes no lock that the replicator could hold.

pub mod clock;
mod ended;
pub mod index;
pub mod lease;
mod pace;
pub mod propagation;
pub mod replicator;
mod schemes;
pub mod terms;
pub mod usage;
mod view;

pub use view::{Entropy, LeaseProof, NoLease, ReplicaState};
