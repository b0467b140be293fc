//! Proof that a replica had its lease.

use key_authority_domain::id::Revision;
use key_authority_domain::time::Timestamp;

/// Proof that the lease was valid at this instant. A lookup with the proof sees every change that was acknowledged
/// before this instant.
///
/// Only [`ReplicaState::lease_proof`] makes one. A call reads it once for each question, when the question arrives.
///
/// [`ReplicaState::lease_proof`]: crate::ReplicaState::lease_proof
#[derive(Debug, Clone, Copy)]
pub struct LeaseProof {
    pub(crate) now: Timestamp,
    pub(crate) revision: Revision,
}

impl LeaseProof {
    /// Returns the authority's time at this instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Returns the revision up to which the log was applied; a lookup may see newer rows.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }
}
