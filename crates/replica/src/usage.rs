//! When keys were last used and how often: counted in memory where Verify passes, written down in batches.
//!
//! Counting costs Verify two atomic writes, and once in a batch an entry in a queue. A crash loses what was not written
//! yet. When a version was last used stays in memory after it is written, so that whoever must not
//! miss a use need not write first.

use std::time::Duration;

use crossbeam_queue::SegQueue;
use key_authority_domain::time::Timestamp;
use key_authority_storage::Store;
use key_authority_storage::usage::UsageDelta;

use crate::index::{KeyRecord, Record};

/// How often usage is written down.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(2);
/// How long the pause after a writing is, in the time that the writing took. Where very many keys are used, writing each down
/// every two seconds would cost more than verifying them: so it takes a tenth of the time, and comes later.
const FLUSH_DUTY_CYCLE: u32 = 9;
/// … but not later than this.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How many versions are taken at once.
const FLUSH_BATCH: usize = 2_000;

/// How long to wait after a writing that took `took`.
#[must_use]
pub fn next_flush_delay(took: Duration) -> Duration {
    took.saturating_mul(FLUSH_DUTY_CYCLE).clamp(FLUSH_INTERVAL, PAUSE_MAX)
}

/// Gathers the use of keys.
#[derive(Debug, Default)]
pub struct Usage {
    queue: SegQueue<Record>,
}

impl Usage {
    /// Notes that a version of a key passed at `now`.
    pub(crate) fn note(&self, secret: &Record, now: Timestamp) {
        secret.last_used.note(now);
        self.add(secret, 1);
    }

    fn add(&self, secret: &Record, count: u32) {
        if secret.uses.add(count) {
            self.queue.push(secret.clone());
        }
    }

    /// Writes down all that was gathered when it began. What cannot be written is kept for the next time.
    ///
    /// Not for a call's own task: what it has taken is lost when it is dropped half-way.
    ///
    /// # Errors
    /// When the database could not be written to.
    pub async fn flush(&self, store: &Store) -> Result<(), key_authority_storage::StorageError> {
        let mut left = self.queue.len();
        while left > 0 {
            let secrets: Vec<_> = std::iter::from_fn(|| self.queue.pop()).take(left.min(FLUSH_BATCH)).collect();
            left = if secrets.is_empty() { 0 } else { left - secrets.len() };
            self.write(store, secrets).await?;
        }
        Ok(())
    }

    async fn write(&self, store: &Store, secrets: Vec<Record>) -> Result<(), key_authority_storage::StorageError> {
        let mut taken: Vec<(UsageDelta, Record)> =
            secrets.into_iter().filter_map(|secret| Some((delta(&secret)?, secret))).collect();
        taken.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut deltas: Vec<UsageDelta> = taken.iter().map(|(delta, _)| delta.clone()).collect();
        let Err((written, error)) = store.record_usage(&mut deltas).await else { return Ok(()) };
        for (delta, secret) in taken.into_iter().skip(written) {
            self.add(&secret, delta.count);
        }
        Err(error)
    }
}

/// Takes what is to be written down of a version.
fn delta(secret: &KeyRecord) -> Option<UsageDelta> {
    let count = secret.uses.take()?;
    Some(UsageDelta { count, ..secret.last_use()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::resident;

    #[test]
    fn uses_are_counted_once_and_times_move_forward() {
        let usage = Usage::default();
        let secret = resident();
        assert_eq!(secret.last_used_time(), None);
        for micros in [5, 9, 7] {
            usage.note(&secret, Timestamp::from_micros(micros));
        }
        assert_eq!(usage.queue.len(), 1);
        let delta = delta(&usage.queue.pop().unwrap()).unwrap();
        assert_eq!((delta.count, delta.last_used_time.micros()), (3, 9));
        assert_eq!(super::delta(&secret), None);
        assert_eq!(secret.last_used_time(), Some(Timestamp::from_micros(9)), "it is known while it is being written");
        usage.note(&secret, Timestamp::from_micros(8));
        assert_eq!(usage.queue.len(), 1);
    }
}
