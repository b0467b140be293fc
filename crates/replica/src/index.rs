//! The resident index: every account and key, in memory, by the digest of its token.
//!
//! [`Index`] is what Verify reads. [`Writer`] is what the replicator alone holds.

mod by_key;
mod counters;
mod guard;
mod interner;
mod record;
mod schemes;
mod tombstones;
mod writer;

pub use guard::{Index, IndexGuard};
pub use record::{KeyRecord, Record};
#[cfg(test)]
pub(crate) use writer::tests;
pub use writer::{Reload, Writer};
