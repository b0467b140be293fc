//! Proof that a replica had its lease.

use key_authority_domain::id::Revision;
use key_authority_domain::time::Timestamp;

/// Proof that the lease was valid at this instant. Lookups made after it see every change acknowledged before it. Only
/// [`ReplicaState::lease_proof`] makes one; it is read once for each question, when that arrives.
///
/// [`ReplicaState::lease_proof`]: crate::ReplicaState::lease_proof
#[derive(Debug, Clone, Copy)]
pub struct LeaseProof {
    pub(crate) now: Timestamp,
    pub(crate) revision: Revision,
}

impl LeaseProof {
    /// What the authority's clock said.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Up to where the log was applied; what is looked up may be newer.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }
}
