//! Usage of keys: counted in memory when Verify accepts a token or a caller is authorized, and flushed in batches.
//!
//! Counting costs Verify two atomic writes, and one entry in a queue per batch. A crash loses the counts since the last
//! flush. The time of a token's last use also stays in memory after a flush: the check before a deletion reads it
//! there, without a flush.

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
const PAUSE_PER_FLUSH: u32 = 9;
/// The longest pause between two flushes.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The number of versions in one batch.
const FLUSH_BATCH: usize = 2_000;

/// Returns the pause after a flush that took `took`.
#[must_use]
pub fn next_flush_delay(took: Duration) -> Duration {
    took.saturating_mul(PAUSE_PER_FLUSH).clamp(FLUSH_INTERVAL, PAUSE_MAX)
}

/// Collects the use of keys.
#[derive(Debug, Default)]
pub struct Usage {
    queue: SegQueue<SharedKeyRecord>,
}

impl Usage {
    /// Records that a version of a key was accepted at `now`.
    pub(crate) fn note(&self, record: &SharedKeyRecord, now: Timestamp) {
        record.last_used.note(now);
        self.add(record, 1);
    }

    fn add(&self, record: &SharedKeyRecord, count: u32) {
        if record.uses.add(count) {
            self.queue.push(record.clone());
        }
    }

    /// Flushes all usage that was recorded when the call began. What cannot be written is kept for the next flush. If
    /// the response to a write is lost, its uses may be counted twice.
    ///
    /// Do not run it on a call's own task: when the future is dropped, the batch in progress is lost.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn flush(&self, store: &Store) -> Result<(), key_authority_storage::StorageError> {
        let mut left = self.queue.len();
        while left > 0 {
            let records: Vec<_> = std::iter::from_fn(|| self.queue.pop()).take(left.min(FLUSH_BATCH)).collect();
            left = if records.is_empty() { 0 } else { left - records.len() };
            self.write(store, records).await?;
        }
        Ok(())
    }

    async fn write(
        &self,
        store: &Store,
        records: Vec<SharedKeyRecord>,
    ) -> Result<(), key_authority_storage::StorageError> {
        let mut taken: Vec<(UsageDelta, SharedKeyRecord)> =
            records.into_iter().filter_map(|record| Some((delta(&record)?, record))).collect();
        taken.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut deltas: Vec<UsageDelta> = taken.iter().map(|(delta, _)| delta.clone()).collect();
        let Err((written, error)) = store.record_usage(&mut deltas).await else { return Ok(()) };
        for (delta, record) in taken.into_iter().skip(written) {
            self.add(&record, delta.count);
        }
        Err(error)
    }
}

/// Takes the unflushed usage of a version.
fn delta(record: &KeyRecord) -> Option<UsageDelta> {
    let count = record.uses.take()?;
    Some(UsageDelta { count, ..record.last_use()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::resident;

    #[test]
    fn uses_are_counted_once_and_times_move_forward() {
        let usage = Usage::default();
        let record = resident();
        assert_eq!(record.last_used_time(), None);
        for micros in [5, 9, 7] {
            usage.note(&record, Timestamp::from_micros(micros));
        }
        assert_eq!(usage.queue.len(), 1);
        let delta = delta(&usage.queue.pop().unwrap()).unwrap();
        assert_eq!((delta.count, delta.last_used_time.micros()), (3, 9));
        assert_eq!(super::delta(&record), None);
        assert_eq!(record.last_used_time(), Some(Timestamp::from_micros(9)), "the time stays known during a flush");
        usage.note(&record, Timestamp::from_micros(8));
        assert_eq!(usage.queue.len(), 1);
    }
}
