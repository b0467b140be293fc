//! The resident index: every account and key in memory, found by the digest of a token.
//!
//! Verify reads [`Index`]. Only the replicator uses [`Writer`].

mod by_key;
mod counters;
mod guard;
mod interner;
mod record;
mod schemes;
mod tombstones;
mod writer;

pub use guard::{Index, IndexGuard, SecretMissing};
pub use record::{KeyRecord, SharedKeyRecord};
#[cfg(test)]
pub(crate) use writer::tests;
pub use writer::{Reload, Writer};
