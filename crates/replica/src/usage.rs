//! When keys were last used and how often: counted in memory where Verify passes, written down in batches.
//!
//! Counting costs Verify two atomic writes, and once in a batch an entry in a queue. A crash loses what was not written
//! yet: at most one interval. When a version was last used stays in memory after it is written, so that whoever must not
//! miss a use need not write first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_queue::SegQueue;
use key_authority_domain::id::{KeyId, Revision};
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;
use key_authority_storage::Store;
use key_authority_storage::usage::UsageDelta;

/// How often usage is written down.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(2);

/// How one version of a key was used since the last batch.
#[derive(Debug)]
pub(crate) struct UsageCell {
    key_id: KeyId,
    digest: TokenDigest,
    create_revision: Revision,
    count: AtomicU64,
    last_used_us: AtomicI64,
    is_queued: AtomicBool,
}

impl UsageCell {
    pub(crate) fn new(key_id: KeyId, digest: TokenDigest, create_revision: Revision) -> Self {
        Self {
            key_id,
            digest,
            create_revision,
            count: AtomicU64::new(0),
            last_used_us: AtomicI64::new(i64::MIN),
            is_queued: AtomicBool::new(false),
        }
    }

    /// When the version was last used here, if it was.
    pub(crate) fn last_used_time(&self) -> Option<Timestamp> {
        let micros = self.last_used_us.load(Ordering::Acquire);
        (micros != i64::MIN).then_some(Timestamp::from_micros(micros))
    }

    /// Takes what was counted out of the cell. It is marked as not queued first: a use that comes in between queues it
    /// again, and at worst finds nothing left to take.
    fn take(&self) -> Option<UsageDelta> {
        self.is_queued.store(false, Ordering::Release);
        let count = self.count.swap(0, Ordering::AcqRel);
        let last_used_time = Timestamp::from_micros(self.last_used_us.load(Ordering::Acquire));
        (count > 0).then(|| UsageDelta {
            key_id: self.key_id.clone(),
            digest: self.digest,
            create_revision: self.create_revision,
            count,
            last_used_time,
        })
    }
}

/// Gathers the use of keys.
#[derive(Debug, Default)]
pub struct Usage {
    queue: SegQueue<Arc<UsageCell>>,
}

impl Usage {
    /// Notes that a version of a key passed at `now`.
    pub(crate) fn note(&self, cell: &Arc<UsageCell>, now: Timestamp) {
        cell.last_used_us.fetch_max(now.micros(), Ordering::AcqRel);
        cell.count.fetch_add(1, Ordering::AcqRel);
        if !cell.is_queued.load(Ordering::Acquire) && !cell.is_queued.swap(true, Ordering::AcqRel) {
            self.queue.push(Arc::clone(cell));
        }
    }

    /// Writes down all that was gathered. What cannot be written is kept for the next time.
    ///
    /// Not for a call's own task: what it has taken is lost when it is dropped half-way.
    ///
    /// # Errors
    /// When the database could not be written to.
    pub async fn flush(&self, store: &Store) -> Result<(), key_authority_storage::StorageError> {
        let cells: Vec<Arc<UsageCell>> = std::iter::from_fn(|| self.queue.pop()).collect();
        let mut taken: Vec<(UsageDelta, Arc<UsageCell>)> =
            cells.into_iter().filter_map(|cell| Some((cell.take()?, cell))).collect();
        taken.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut deltas: Vec<UsageDelta> = taken.iter().map(|(delta, _)| delta.clone()).collect();
        let Err((written, error)) = store.record_usage(&mut deltas).await else { return Ok(()) };
        for (delta, cell) in taken.into_iter().skip(written) {
            cell.count.fetch_add(delta.count, Ordering::AcqRel);
            if !cell.is_queued.swap(true, Ordering::AcqRel) {
                self.queue.push(cell);
            }
        }
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_counted_once_and_times_move_forward() {
        let usage = Usage::default();
        let cell = Arc::new(UsageCell::new(KeyId::new("key_1").unwrap(), TokenDigest([1; 32]), Revision(1)));
        assert_eq!(cell.last_used_time(), None);
        for micros in [5, 9, 7] {
            usage.note(&cell, Timestamp::from_micros(micros));
        }
        assert_eq!(usage.queue.len(), 1);
        let delta = usage.queue.pop().unwrap().take().unwrap();
        assert_eq!((delta.count, delta.last_used_time.micros()), (3, 9));
        assert_eq!(cell.take(), None);
        assert_eq!(cell.last_used_time(), Some(Timestamp::from_micros(9)), "it is known while it is being written");
        usage.note(&cell, Timestamp::from_micros(8));
        assert_eq!(usage.queue.len(), 1);
    }
}
