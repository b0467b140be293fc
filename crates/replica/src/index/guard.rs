//! What Verify reads: one lookup in a map whose readers never wait.

use std::borrow::Borrow;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};

use key_authority_domain::foreign::Scheme;
use key_authority_domain::token::TokenDigest;

use super::record::Record;
use super::schemes::SchemeCounts;
use crate::proof::LeaseProof;

/// A digest is as good as random, and nobody outside can choose it: its first eight bytes are its hash.
#[derive(Default)]
pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    /// The length of the digest, always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What the map goes by: the digest in the record, so that it takes memory once. It may be an older record of that digest.
#[derive(Debug)]
pub(super) struct ByDigest(pub(super) Record);

impl Borrow<TokenDigest> for ByDigest {
    fn borrow(&self) -> &TokenDigest {
        &self.0.digest
    }
}

impl Hash for ByDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.digest.hash(state);
    }
}

impl PartialEq for ByDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest
    }
}

impl Eq for ByDigest {}

type Hashing = BuildHasherDefault<DigestHasher>;

/// What Verify reads.
#[derive(Debug, Default)]
pub struct Index {
    pub(super) secrets: papaya::HashMap<ByDigest, Record, Hashing>,
    pub(super) keys: AtomicUsize,
    pub(super) accounts: AtomicUsize,
    pub(super) quarantined: AtomicUsize,
    pub(super) foreign: SchemeCounts,
}

/// The index, open for reading. What is found in it stays for as long as this lives, and what the writer has replaced
/// meanwhile takes memory for as long: so it is for a step, and never held while something is awaited.
#[derive(Debug)]
pub struct IndexGuard<'a>(papaya::HashMapRef<'a, ByDigest, Record, Hashing, papaya::LocalGuard<'a>>);

impl IndexGuard<'_> {
    /// The secret with this digest.
    #[must_use]
    pub fn get(&self, digest: &TokenDigest) -> Option<&Record> {
        self.0.get(digest)
    }

    /// Looks a token up by its digests under each version of the authority secret. The moment is evidence of a lease.
    pub fn find(&self, _: LeaseProof, digests: impl IntoIterator<Item = TokenDigest>) -> Option<&Record> {
        digests.into_iter().find_map(|digest| self.get(&digest))
    }
}

impl Index {
    /// Opens it for reading.
    #[must_use]
    pub fn read(&self) -> IndexGuard<'_> {
        IndexGuard(self.secrets.pin())
    }

    /// The secret with this digest.
    #[must_use]
    pub fn get(&self, digest: &TokenDigest) -> Option<Record> {
        self.read().get(digest).cloned()
    }

    /// Whether any token is resident that was brought along by this scheme: then it is worth a look-up.
    #[must_use]
    pub fn has_any(&self, scheme: Scheme) -> bool {
        self.foreign.has_any(scheme)
    }

    /// How many keys are resident.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// How many tokens are quarantined: they had ended, and a database that went back would let them pass again.
    #[must_use]
    pub fn quarantined(&self) -> usize {
        self.quarantined.load(Ordering::Relaxed)
    }

    /// How many accounts are resident.
    #[must_use]
    pub fn accounts(&self) -> usize {
        self.accounts.load(Ordering::Relaxed)
    }
}
