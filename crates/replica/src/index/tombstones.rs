//! Tokens that have ended for good: of keys that were revoked or deleted, and of secrets that were retired.
//!
//! In the order of the log none of them comes back. Where a complete reading shows one that passes again, the database has
//! gone back, by a restore or by a failover that lost changes: the token is held, that is, refused as revoked, until it is
//! ended again or an operator accepts the database as it is. What ended before this replica started is not known here.

use std::collections::{HashMap, HashSet, VecDeque};

use key_authority_domain::id::Revision;
use key_authority_domain::key::{Key, Secret};
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;

use super::record::KeyRecord;

/// How many tokens are remembered that are no longer in the index; the oldest are forgotten first.
const GONE_MAX: usize = 100_000;

/// What is known of ended tokens, beside the index, which has those of revoked keys and retired secrets.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    /// Those that are gone from the index, and up to which revision they were known to be.
    gone: HashMap<TokenDigest, Revision>,
    oldest: VecDeque<TokenDigest>,
    quarantined: HashSet<TokenDigest>,
    has_forgotten: bool,
}

impl Tombstones {
    /// Notes that the token is gone, as of a revision.
    pub(crate) fn record_removed(&mut self, digest: TokenDigest, at: Revision) {
        self.quarantined.remove(&digest);
        if self.gone.insert(digest, at).is_none() {
            self.oldest.push_back(digest);
        }
        if self.oldest.len() > GONE_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.gone.remove(&oldest);
            if !std::mem::replace(&mut self.has_forgotten, true) {
                tracing::warn!(
                    remembered = GONE_MAX,
                    "so many tokens have gone that the first are forgotten: a restore would let them pass"
                );
            }
        }
    }

    /// Whether a token that a complete reading shows had ended: then it has come back.
    pub(crate) fn has_come_back(&self, known: Option<&KeyRecord>, key: &Key, secret: &Secret, now: Timestamp) -> bool {
        // The same token may be brought along again, as another key, under a later revision.
        let was_gone = self.gone.get(&secret.digest).is_some_and(|at| key.create_revision <= *at);
        let is_past = |end: Option<Timestamp>| now.is_past(end);
        let was_ended = known.filter(|known| key.create_revision <= known.create_revision).is_some_and(|known| {
            known.revoked || is_past(known.retire_time()) && !is_past(secret.effective_retire_time())
        });
        key.revocation.is_none() && (was_gone || was_ended)
    }

    /// Whether the token of a key that was read goes on being held, or is from now on. One whose key is revoked need not be.
    /// One that is not held is there again by the order of the log, however it went before.
    pub(crate) fn quarantine(&mut self, digest: TokenDigest, key: &Key, has_come_back: bool) -> bool {
        if key.revocation.is_some() {
            self.quarantined.remove(&digest);
        } else if has_come_back && self.quarantined.insert(digest) {
            tracing::error!(key = %key.id, account = %key.account, "quarantined a token that had ended and is valid in the database again");
        }
        let is_held = self.quarantined.contains(&digest);
        if !is_held {
            self.gone.remove(&digest);
        }
        is_held
    }

    /// Lets go of all that are held.
    pub(crate) fn release(&mut self) -> impl Iterator<Item = TokenDigest> {
        self.gone.clear();
        self.oldest.clear();
        self.quarantined.drain()
    }

    /// How many are held.
    pub(crate) fn quarantined(&self) -> usize {
        self.quarantined.len()
    }
}
