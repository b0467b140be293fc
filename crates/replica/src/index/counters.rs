//! When and how often this replica saw a version of a key used.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use key_authority_domain::time::Timestamp;

/// How often this replica saw a version of a key used since the last flush; wraps after 2^32. The version is in the
/// flush queue for as long as this is not 0.
#[derive(Debug, Default)]
pub(crate) struct Uses(AtomicU32);

impl Uses {
    /// Adds uses, and returns whether they are the first since the last flush.
    pub(crate) fn add(&self, count: u32) -> bool {
        self.0.fetch_add(count, Ordering::AcqRel) == 0
    }

    /// Takes the count and resets it.
    pub(crate) fn take(&self) -> Option<u32> {
        let count = self.0.swap(0, Ordering::AcqRel);
        (count > 0).then_some(count)
    }
}

/// When this replica last saw a version of a key used, if ever.
#[derive(Debug)]
pub(crate) struct LastUsed(AtomicI64);

impl LastUsed {
    const NEVER: i64 = i64::MIN;

    pub(crate) fn new(time: Option<Timestamp>) -> Self {
        Self(AtomicI64::new(time.map_or(Self::NEVER, Timestamp::micros)))
    }

    pub(crate) fn get(&self) -> Option<Timestamp> {
        let micros = self.0.load(Ordering::Acquire);
        (micros != Self::NEVER).then_some(Timestamp::from_micros(micros))
    }

    /// Records a use, unless a later one is recorded.
    pub(crate) fn note(&self, now: Timestamp) {
        self.0.fetch_max(now.micros(), Ordering::AcqRel);
    }
}
