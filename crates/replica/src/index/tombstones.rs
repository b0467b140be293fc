//! Tombstones of tokens that have ended for good: of keys that were revoked or deleted, and of secrets that were
//! retired.
//!
//! In the order of the log, no ended token becomes valid again. When a full reload shows one that is valid, the
//! database has gone back, by a restore or by a failover that lost changes. The token is quarantined: it is rejected as
//! revoked until it is ended again, or until an operator accepts the database as it is. The API calls
//! such tokens held. A replica does not know what
//! ended before it started.

use std::collections::{HashMap, HashSet, VecDeque};

use key_authority_domain::id::Revision;
use key_authority_domain::key::{Key, Secret};
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;

use super::record::KeyRecord;

/// How many removed tokens are remembered; the oldest are forgotten first.
const GONE_MAX: usize = 100_000;

/// Ended tokens that the index does not show. The index itself has the tokens of revoked keys and of retired secrets.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    /// Tokens removed from the index, with the revision up to which they were known to be removed.
    removed: HashMap<TokenDigest, Revision>,
    oldest: VecDeque<TokenDigest>,
    quarantined: HashSet<TokenDigest>,
    has_forgotten: bool,
}

impl Tombstones {
    /// Records that the token is removed, as of a revision.
    pub(crate) fn record_removed(&mut self, digest: TokenDigest, at: Revision) {
        self.quarantined.remove(&digest);
        if self.removed.insert(digest, at).is_none() {
            self.oldest.push_back(digest);
        }
        if self.oldest.len() > GONE_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.removed.remove(&oldest);
            if !std::mem::replace(&mut self.has_forgotten, true) {
                tracing::warn!(
                    remembered = GONE_MAX,
                    "tombstone limit reached; forgetting the oldest tokens, which a restored database accepts again"
                );
            }
        }
    }

    /// Whether a token that a full reload shows had ended before, and so has come back.
    pub(crate) fn has_come_back(&self, known: Option<&KeyRecord>, key: &Key, secret: &Secret, now: Timestamp) -> bool {
        // The same token may be imported again, as another key, under a later revision.
        let was_removed = self.removed.get(&secret.digest).is_some_and(|at| key.create_revision <= *at);
        let is_past = |end: Option<Timestamp>| now.is_past(end);
        let was_ended = known.filter(|known| key.create_revision <= known.create_revision).is_some_and(|known| {
            known.revoked || is_past(known.retire_time()) && !is_past(secret.effective_retire_time())
        });
        key.revocation.is_none() && (was_removed || was_ended)
    }

    /// Decides whether the token of a key that was read is quarantined from now on. The token of a revoked key need not
    /// be. A token that is not quarantined is valid by the order of the log, no matter how it ended before; its
    /// tombstone is removed.
    pub(crate) fn quarantine(&mut self, digest: TokenDigest, key: &Key, has_come_back: bool) -> bool {
        if key.revocation.is_some() {
            self.quarantined.remove(&digest);
        } else if has_come_back && self.quarantined.insert(digest) {
            tracing::error!(
                key = %key.id,
                account = %key.account,
                "quarantined a token that had ended and is valid in the database again"
            );
        }
        let is_quarantined = self.quarantined.contains(&digest);
        if !is_quarantined {
            self.removed.remove(&digest);
        }
        is_quarantined
    }

    /// Releases all quarantined tokens.
    pub(crate) fn release(&mut self) -> impl Iterator<Item = TokenDigest> {
        self.removed.clear();
        self.oldest.clear();
        self.quarantined.drain()
    }

    /// Returns the number of quarantined tokens.
    pub(crate) fn quarantined(&self) -> usize {
        self.quarantined.len()
    }
}
