//! How many resident tokens were imported under each scheme, so that a scheme without tokens costs no lookup.

use std::sync::atomic::{AtomicUsize, Ordering};

use key_authority_domain::foreign::Scheme;

/// Counts of tokens that other systems issued.
///
/// Only the writer of the index changes them. It writes the deadline of the lease after them, and a reader has read the
/// deadline before: every token of a change that has returned is counted.
#[derive(Debug, Default)]
pub(crate) struct SchemeCounts {
    whole: AtomicUsize,
    blake3: AtomicUsize,
    sha256: AtomicUsize,
}

impl SchemeCounts {
    /// Whether any such token exists.
    pub(crate) fn has_any(&self, scheme: Scheme) -> bool {
        self.of(scheme).is_some_and(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// Counts an added token.
    pub(crate) fn add(&self, scheme: Scheme) {
        if let Some(count) = self.of(scheme) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a removed token.
    pub(crate) fn remove(&self, scheme: Scheme) {
        if let Some(count) = self.of(scheme) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Returns the counter of a scheme; `None` for the authority's own tokens, which are always looked up.
    fn of(&self, scheme: Scheme) -> Option<&AtomicUsize> {
        match scheme {
            Scheme::Own => None,
            Scheme::Whole => Some(&self.whole),
            Scheme::Blake3 => Some(&self.blake3),
            Scheme::Sha256 => Some(&self.sha256),
        }
    }
}
