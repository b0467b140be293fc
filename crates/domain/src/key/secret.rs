//! The versions of a key's secret.

use crate::foreign::Scheme;
use crate::secret::SecretVersion;
use crate::time::Timestamp;
use crate::token::TokenDigest;

/// One version of a key's secret, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Number of the version: 1 for the first, incremented by each renewal.
    pub version: u32,
    /// The stored digest of the token.
    pub digest: TokenDigest,
    /// What the digest was computed from.
    pub scheme: Scheme,
    /// The version of the authority secret that keyed the digest.
    pub secret_version: SecretVersion,
    /// The part of the token that lists show.
    pub hint: String,
    /// The encrypted token, if the account's policy is recoverable.
    pub sealed: Option<Vec<u8>>,
    /// Time of the creation.
    pub create_time: Timestamp,
    /// The first instant at which this version is no longer valid.
    pub retire_time: Option<Timestamp>,
    /// Whether the version is permanently retired. It stays retired if the clock steps back below `retire_time`.
    pub retired: bool,
    /// Time of the last successful Verify.
    pub last_used_time: Option<Timestamp>,
}

impl Secret {
    /// The retirement time that Verify uses.
    #[must_use]
    pub fn effective_retire_time(&self) -> Option<Timestamp> {
        effective_retire_time(self.retired, self.retire_time)
    }
}

/// The retirement time that counts: [`Timestamp::MIN`] for a permanently retired version.
#[must_use]
pub fn effective_retire_time(retired: bool, retire_time: Option<Timestamp>) -> Option<Timestamp> {
    if retired { Some(Timestamp::MIN) } else { retire_time }
}

/// The stored parts of a token that was just minted or imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintedSecret {
    /// The stored digest of the token.
    pub digest: TokenDigest,
    /// What the digest was computed from.
    pub scheme: Scheme,
    /// The version of the authority secret that keyed the digest.
    pub secret_version: SecretVersion,
    /// The part of the token that lists show.
    pub hint: String,
    /// The encrypted token, if the account's policy is recoverable.
    pub sealed: Option<Vec<u8>>,
}

impl MintedSecret {
    pub(super) fn into_secret(self, version: u32, now: Timestamp) -> Secret {
        Secret {
            version,
            digest: self.digest,
            scheme: self.scheme,
            secret_version: self.secret_version,
            hint: self.hint,
            sealed: self.sealed,
            create_time: now,
            retire_time: None,
            retired: false,
            last_used_time: None,
        }
    }
}
