//! Tombstones of tokens that have ended for good: of keys that were revoked or deleted, and of secrets that were
//! retired.
//!
//! In the order of the log, no ended token becomes valid again. When a full reload shows one that is valid, the
//! database has gone back, by a restore or by a failover that lost changes. The token is quarantined: it is rejected as
//! revoked until it is ended again, or until an operator accepts the database as it is. The API calls such tokens held.
//! A replica does not know what ended before it started.

use std::collections::{HashMap, HashSet, VecDeque};

use key_authority_domain::id::Revision;
use key_authority_domain::key::{Key, Secret};
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;

use super::record::KeyRecord;

/// How many removed tokens are remembered; the oldest are forgotten first.
const TOMBSTONES_MAX: usize = 100_000;
/// How many stale entries the queue may have, in addition to one for each tombstone.
const STALE_MAX: usize = 1_000;

/// Ended tokens that the index does not show. The index itself has the tokens of revoked keys and of retired secrets.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    /// Tokens removed from the index.
    removed: HashMap<TokenDigest, Tombstone>,
    /// The serials of the tombstones, oldest first. An entry is stale if its tombstone was removed or replaced.
    oldest: VecDeque<(TokenDigest, u64)>,
    next_serial: u64,
    quarantined: HashSet<TokenDigest>,
    has_forgotten: bool,
}

#[derive(Debug, Clone, Copy)]
struct Tombstone {
    /// The revision up to which the token is known to be removed.
    at: Revision,
    /// Distinguishes this tombstone from earlier ones of the same token.
    serial: u64,
}

impl Tombstones {
    /// Records that the token is removed, as of a revision.
    pub(crate) fn record_removed(&mut self, digest: TokenDigest, at: Revision) {
        self.quarantined.remove(&digest);
        let serial = self.next_serial;
        self.next_serial += 1;
        self.removed.insert(digest, Tombstone { at, serial });
        self.oldest.push_back((digest, serial));
        while self.removed.len() > TOMBSTONES_MAX
            && let Some((digest, serial)) = self.oldest.pop_front()
        {
            if self.is_current(&digest, serial) {
                self.removed.remove(&digest);
                self.note_forgotten();
            }
        }
        if self.oldest.len() > 2 * self.removed.len() + STALE_MAX {
            let mut oldest = std::mem::take(&mut self.oldest);
            oldest.retain(|(digest, serial)| self.is_current(digest, *serial));
            self.oldest = oldest;
        }
    }

    /// Whether an entry of the queue is of the tombstone that the token has now.
    fn is_current(&self, digest: &TokenDigest, serial: u64) -> bool {
        self.removed.get(digest).is_some_and(|tombstone| tombstone.serial == serial)
    }

    fn note_forgotten(&mut self) {
        if !std::mem::replace(&mut self.has_forgotten, true) {
            tracing::warn!(
                remembered = TOMBSTONES_MAX,
                "tombstone limit reached; forgetting the oldest tokens, which a restored database accepts again"
            );
        }
    }

    /// Whether a token that a full reload shows had ended before, and so has come back.
    pub(crate) fn has_come_back(&self, known: Option<&KeyRecord>, key: &Key, secret: &Secret, now: Timestamp) -> bool {
        // The same token may be imported again, as another key, under a later revision.
        let was_removed = self.removed.get(&secret.digest).is_some_and(|tombstone| key.create_revision <= tombstone.at);
        let is_past = |end: Option<Timestamp>| now.is_past(end);
        let was_ended = known.filter(|known| key.create_revision <= known.create_revision).is_some_and(|known| {
            known.revoked || is_past(known.retire_time()) && !is_past(secret.effective_retire_time())
        });
        key.revocation.is_none() && (was_removed || was_ended)
    }

    /// Decides whether the token of a key that was read is quarantined from now on. The token of a revoked key need not
    /// be. A token that is not quarantined is valid by the order of the log, no matter how it ended before; its
    /// tombstone is removed, and its entry in the queue becomes stale.
    pub(crate) fn decide_quarantine(&mut self, digest: TokenDigest, key: &Key, has_come_back: bool) -> bool {
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

    /// Releases the tokens that are quarantined now. The others that have ended stay recorded: a second restore may show
    /// them again.
    pub(crate) fn release(&mut self) -> impl Iterator<Item = TokenDigest> {
        for digest in &self.quarantined {
            self.removed.remove(digest);
        }
        self.quarantined.drain()
    }

    /// Returns the number of quarantined tokens.
    pub(crate) fn quarantined(&self) -> usize {
        self.quarantined.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::key;

    /// A token of which no key is made.
    fn other(number: usize) -> TokenDigest {
        let mut digest = [0xff; 32];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        TokenDigest(digest)
    }

    fn has_come_back(tombstones: &Tombstones) -> bool {
        let key = key(1);
        tombstones.has_come_back(None, &key, &key.secrets[0], Timestamp::from_micros(0))
    }

    /// Tombstones of a token that was removed, imported again, and removed again.
    fn removed_twice() -> (Tombstones, TokenDigest) {
        let (mut tombstones, digest) = (Tombstones::default(), key(1).secrets[0].digest);
        tombstones.record_removed(digest, Revision(9));
        assert!(!tombstones.decide_quarantine(digest, &key(1), false));
        assert!(!has_come_back(&tombstones), "the token is valid by the order of the log");
        tombstones.record_removed(digest, Revision(9));
        (tombstones, digest)
    }

    #[test]
    fn a_stale_entry_does_not_make_a_token_forgotten() {
        let (mut tombstones, _) = removed_twice();
        (1..TOMBSTONES_MAX).for_each(|number| tombstones.record_removed(other(number), Revision(10)));
        assert!(has_come_back(&tombstones) && !tombstones.has_forgotten);
        tombstones.record_removed(other(0), Revision(11));
        assert!(!has_come_back(&tombstones) && tombstones.has_forgotten, "it is the oldest one");
        assert_eq!(tombstones.removed.len(), TOMBSTONES_MAX);
    }

    #[test]
    fn a_release_is_of_the_quarantined_tokens_alone() {
        let (mut tombstones, digest) = (Tombstones::default(), key(1).secrets[0].digest);
        for removed in [digest, other(1), other(2)] {
            tombstones.record_removed(removed, Revision(9));
        }
        assert!(tombstones.decide_quarantine(digest, &key(1), has_come_back(&tombstones)));
        assert_eq!(tombstones.release().collect::<Vec<_>>(), [digest]);
        assert!(!has_come_back(&tombstones) && tombstones.quarantined() == 0);
        assert_eq!(tombstones.removed.len(), 2, "a second restore may show them");
    }

    #[test]
    fn a_token_that_comes_and_goes_does_not_fill_the_queue() {
        let (mut tombstones, digest) = removed_twice();
        for _ in 0..10 * STALE_MAX {
            tombstones.decide_quarantine(digest, &key(1), false);
            tombstones.record_removed(digest, Revision(12));
        }
        assert!(tombstones.oldest.len() <= STALE_MAX + 2, "{}", tombstones.oldest.len());
        assert!(has_come_back(&tombstones));
    }
}
