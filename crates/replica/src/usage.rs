//! Usage of keys: counted in memory where Verify accepts a token, and flushed in batches.
//!
//! Counting costs Verify two atomic writes and, once a batch, an entry in a queue. A crash loses what is not flushed
//! yet. The time of a version's last use stays in memory after the flush, so that a reader that must not miss a use
//! need not flush first.

use std::time::Duration;

use crossbeam_queue::SegQueue;
use key_authority_domain::time::Timestamp;
use key_authority_storage::Store;
use key_authority_storage::usage::UsageDelta;

use crate::index::{KeyRecord, SharedKeyRecord};

/// The shortest pause between two flushes.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(2);
/// The pause after a flush, as a multiple of the flush's duration. Where very many keys are in use, writing each of
/// them every two seconds would cost more than verifying them; so flushes take a tenth of the time, and come later.
const FLUSH_DUTY_CYCLE: u32 = 9;
/// The longest pause between two flushes.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The number of versions in one batch.
const FLUSH_BATCH: usize = 2_000;

/// Returns the pause after a flush that took `took`.
#[must_use]
pub fn next_flush_delay(took: Duration) -> Duration {
    took.saturating_mul(FLUSH_DUTY_CYCLE).clamp(FLUSH_INTERVAL, PAUSE_MAX)
}

/// Collects the use of keys.
#[derive(Debug, Default)]
pub struct Usage {
    queue: SegQueue<SharedKeyRecord>,
}

impl Usage {
    /// Records that a version of a key was accepted at `now`.
    pub(crate) fn note(&self, secret: &SharedKeyRecord, now: Timestamp) {
        secret.last_used.note(now);
        self.add(secret, 1);
    }

    fn add(&self, secret: &SharedKeyRecord, count: u32) {
        if secret.uses.add(count) {
            self.queue.push(secret.clone());
        }
    }

    /// Flushes all usage that was recorded when the call began. What cannot be written is kept for the next flush.
    ///
    /// Do not run it on a call's own task: when the future is dropped, the batch in progress is lost.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn flush(&self, store: &Store) -> Result<(), key_authority_storage::StorageError> {
        let mut left = self.queue.len();
        while left > 0 {
            let secrets: Vec<_> = std::iter::from_fn(|| self.queue.pop()).take(left.min(FLUSH_BATCH)).collect();
            left = if secrets.is_empty() { 0 } else { left - secrets.len() };
            self.write(store, secrets).await?;
        }
        Ok(())
    }

    async fn write(
        &self,
        store: &Store,
        secrets: Vec<SharedKeyRecord>,
    ) -> Result<(), key_authority_storage::StorageError> {
        let mut taken: Vec<(UsageDelta, SharedKeyRecord)> =
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

/// Takes the unflushed usage of a version.
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
        assert_eq!(secret.last_used_time(), Some(Timestamp::from_micros(9)), "the time stays known during a flush");
        usage.note(&secret, Timestamp::from_micros(8));
        assert_eq!(usage.queue.len(), 1);
    }
}
