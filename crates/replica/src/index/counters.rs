//! When and how often a version of a key was used here.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use key_authority_domain::time::Timestamp;

/// How often a version of a key was used here since it was last written down; begins anew after 2^32. The version is in the
/// queue for as long as this is not 0.
#[derive(Debug, Default)]
pub(crate) struct Uses(AtomicU32);

impl Uses {
    /// Adds uses, and says whether they are the first since it was written down.
    pub(crate) fn add(&self, count: u32) -> bool {
        self.0.fetch_add(count, Ordering::AcqRel) == 0
    }

    /// Takes out what was counted.
    pub(crate) fn take(&self) -> Option<u32> {
        let count = self.0.swap(0, Ordering::AcqRel);
        (count > 0).then_some(count)
    }
}

/// When a version of a key was last used here, if it was.
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

    /// Notes a use, if there was none later.
    pub(crate) fn note(&self, now: Timestamp) {
        self.0.fetch_max(now.micros(), Ordering::AcqRel);
    }
}
