//! The index as Verify reads it: one lookup in a map whose readers never wait.

use std::borrow::Borrow;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use key_authority_domain::foreign::Scheme;
use key_authority_domain::secret::SecretVersion;
use key_authority_domain::token::TokenDigest;

use super::record::SharedKeyRecord;
use super::schemes::SchemeCounts;
use crate::proof::LeaseProof;

/// Hashes a digest by its first eight bytes. A digest is as good as random, and an outsider cannot choose it.
#[derive(Default)]
pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    /// Ignores the length of the digest, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The key of the map: the digest inside the record, so that it is in memory once. After a record was replaced, this
/// may still be the replaced one: both have the same digest.
#[derive(Debug)]
pub(super) struct ByDigest(pub(super) SharedKeyRecord);

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

/// The index as Verify reads it.
#[derive(Debug, Default)]
pub struct Index {
    pub(super) records: papaya::HashMap<ByDigest, SharedKeyRecord, Hashing>,
    pub(super) keys: AtomicUsize,
    pub(super) accounts: AtomicUsize,
    pub(super) quarantined: AtomicUsize,
    pub(super) foreign: SchemeCounts,
    /// The newest version of the authority secret that a resident token has and this replica lacks; 0 if there is none.
    /// The writer sets it before the deadline of the lease, and a reader has read the deadline before.
    pub(super) missing_secret: AtomicU32,
}

/// Tokens exist that were issued with a version of the authority secret that this replica lacks. A token that it does
/// not find may be one of them, so it cannot judge the token. This is not a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this replica lacks version {version} of the authority secret and cannot judge the token; retry, or use another \
     replica"
)]
pub struct SecretMissing {
    /// The version.
    pub version: SecretVersion,
}

/// A read guard of the index.
///
/// What it finds lives as long as the guard, and so does what the writer has replaced in the meantime. Keep a guard for
/// one step, and never across an await.
#[derive(Debug)]
pub struct IndexGuard<'a>(papaya::HashMapRef<'a, ByDigest, SharedKeyRecord, Hashing, papaya::LocalGuard<'a>>);

impl IndexGuard<'_> {
    /// Returns the record of the token with this digest.
    #[must_use]
    pub fn get(&self, digest: &TokenDigest) -> Option<&SharedKeyRecord> {
        self.0.get(digest)
    }

    /// Looks a token up by its digests under each version of the authority secret. The caller proves that the lease is
    /// valid.
    pub fn find(&self, _: LeaseProof, digests: impl IntoIterator<Item = TokenDigest>) -> Option<&SharedKeyRecord> {
        digests.into_iter().find_map(|digest| self.get(&digest))
    }
}

impl Index {
    /// Opens the index for reading.
    #[must_use]
    pub fn read(&self) -> IndexGuard<'_> {
        IndexGuard(self.records.pin())
    }

    /// Returns the record of the token with this digest.
    #[must_use]
    pub fn get(&self, digest: &TokenDigest) -> Option<SharedKeyRecord> {
        self.read().get(digest).cloned()
    }

    /// Whether any resident token was imported under this scheme. If not, a lookup for the scheme is not worth its
    /// cost.
    #[must_use]
    pub fn has_any(&self, scheme: Scheme) -> bool {
        self.foreign.has_any(scheme)
    }

    /// Returns the newest version of the authority secret that resident tokens have and this replica lacks.
    #[must_use]
    pub fn missing_secret(&self) -> Option<SecretMissing> {
        let version = self.missing_secret.load(Ordering::Relaxed);
        (version > 0).then_some(SecretMissing { version })
    }

    /// Returns the number of resident keys.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// Returns the number of quarantined tokens: they had ended, and a database that went back would accept them again.
    #[must_use]
    pub fn quarantined(&self) -> usize {
        self.quarantined.load(Ordering::Relaxed)
    }

    /// Returns the number of resident accounts.
    #[must_use]
    pub fn accounts(&self) -> usize {
        self.accounts.load(Ordering::Relaxed)
    }
}
