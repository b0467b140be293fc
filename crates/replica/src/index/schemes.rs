//! How many resident tokens were brought along by which scheme: so that those that nobody uses cost no look-up.

use std::sync::atomic::{AtomicUsize, Ordering};

use key_authority_domain::foreign::Scheme;

/// Counts of tokens that other systems issued. Written by the one writer of the index; whoever reads them has read the
/// deadline of the lease before, which is written after them: what a change that has returned brought is counted.
#[derive(Debug, Default)]
pub(crate) struct SchemeCounts {
    whole: AtomicUsize,
    blake3: AtomicUsize,
    sha256: AtomicUsize,
}

impl SchemeCounts {
    /// Whether there is any such token.
    pub(crate) fn has_any(&self, scheme: Scheme) -> bool {
        self.of(scheme).is_some_and(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// Counts a token that comes.
    pub(crate) fn add(&self, scheme: Scheme) {
        if let Some(count) = self.of(scheme) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a token that is gone.
    pub(crate) fn remove(&self, scheme: Scheme) {
        if let Some(count) = self.of(scheme) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// None for our own tokens, which are always looked up.
    fn of(&self, scheme: Scheme) -> Option<&AtomicUsize> {
        match scheme {
            Scheme::Own => None,
            Scheme::Whole => Some(&self.whole),
            Scheme::Blake3 => Some(&self.blake3),
            Scheme::Sha256 => Some(&self.sha256),
        }
    }
}
