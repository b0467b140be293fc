//! A semaphore for each key, such as a caller: it limits what one key has in progress. What comes later for the same
//! key waits in order of arrival, and other keys do not wait for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A semaphore for each key that is in use.
#[derive(Debug)]
pub(crate) struct KeyedSemaphore<K> {
    permits: usize,
    waiting_max: usize,
    entries: Mutex<HashMap<K, Entry>>,
}

/// The semaphore of one key.
#[derive(Debug)]
struct Entry {
    semaphore: Arc<Semaphore>,
    /// The number of permits and of waits for one; never zero.
    users: usize,
}

impl<K: Clone + Eq + Hash> KeyedSemaphore<K> {
    /// Makes semaphores with this number of permits for each key, for which at most `waiting_max` wait.
    pub(crate) fn new(permits: usize, waiting_max: usize) -> Self {
        Self { permits, waiting_max, entries: Mutex::default() }
    }

    /// Waits for a permit of this key. Dropping the returned value releases it. Returns `None` at once if too many
    /// wait.
    pub(crate) async fn acquire(&self, key: K) -> Option<KeyedPermit<'_, K>> {
        let semaphore = {
            let mut entries = self.entries();
            let semaphore = || Arc::new(Semaphore::new(self.permits));
            let entry = entries.entry(key.clone()).or_insert_with(|| Entry { semaphore: semaphore(), users: 0 });
            if entry.users >= self.permits.saturating_add(self.waiting_max) {
                return None;
            }
            entry.users += 1;
            Arc::clone(&entry.semaphore)
        };
        // Dropped also if the wait is given up, so that nothing is kept for keys that are not in use.
        let mut held = KeyedPermit { owner: self, key, permit: None };
        // The semaphore is never closed.
        held.permit = semaphore.acquire_owned().await.ok();
        Some(held)
    }
}

impl<K> KeyedSemaphore<K> {
    fn entries(&self) -> MutexGuard<'_, HashMap<K, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A permit, or the wait for one.
#[derive(Debug)]
pub(crate) struct KeyedPermit<'a, K: Eq + Hash> {
    owner: &'a KeyedSemaphore<K>,
    key: K,
    permit: Option<OwnedSemaphorePermit>,
}

impl<K: Eq + Hash> Drop for KeyedPermit<'_, K> {
    fn drop(&mut self) {
        self.permit = None;
        let mut entries = self.owner.entries();
        let Some(entry) = entries.get_mut(&self.key) else { return };
        entry.users -= 1;
        if entry.users == 0 {
            entries.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    type Acquired<'a> = BoxFuture<'a, KeyedPermit<'a, &'static str>>;

    fn acquire<'a>(all: &'a KeyedSemaphore<&'static str>, key: &'static str) -> Acquired<'a> {
        all.acquire(key).map(|permit| permit.expect("few wait")).boxed()
    }

    #[tokio::test]
    async fn those_of_one_key_wait_in_order_and_those_of_another_do_not_wait() {
        let all = KeyedSemaphore::new(2, 2);
        let [first, second] = [(); 2].map(|()| acquire(&all, "a").now_or_never().expect("a free permit"));
        let mut waiting = [acquire(&all, "a"), acquire(&all, "a")];
        assert!(waiting.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        let other = acquire(&all, "b").now_or_never().expect("another key does not wait");
        drop(first);
        let [third, mut fourth] = waiting;
        let third = third.now_or_never().expect("it waited longest");
        assert!((&mut fourth).now_or_never().is_none());
        drop((second, third, other));
        drop(fourth.now_or_never().expect("a free permit"));
        assert!(all.entries().is_empty(), "nothing is kept for keys that are not in use");
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_takes_no_permit() {
        let all = KeyedSemaphore::new(1, 2);
        let first = acquire(&all, "a").now_or_never().expect("a free permit");
        let mut given_up = acquire(&all, "a");
        assert!((&mut given_up).now_or_never().is_none());
        let mut next = acquire(&all, "a");
        assert!((&mut next).now_or_never().is_none());
        drop(given_up);
        drop(first);
        drop(next.now_or_never().expect("a free permit"));
        assert!(all.entries().is_empty());
    }

    #[tokio::test]
    async fn of_one_key_few_wait() {
        let all = KeyedSemaphore::new(1, 1);
        let first = acquire(&all, "a").now_or_never().expect("a free permit");
        let mut waiting = acquire(&all, "a");
        assert!((&mut waiting).now_or_never().is_none());
        assert!(all.acquire("a").now_or_never().expect("an answer at once").is_none());
        assert!(all.acquire("b").now_or_never().expect("a free permit").is_some());
        drop(first);
        drop(waiting.now_or_never().expect("a free permit"));
        assert!(all.entries().is_empty());
    }
}
