//! The reads of each caller: a limit on those that use the database at a time. The others wait in order of arrival.
//!
//! A caller with many connections could otherwise hold all connections to the database that are for reads, and the
//! reads of other callers would wait behind all of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use key_authority_domain::id::Actor;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One caller may use this share of the connections for reads: half of them.
const CALLER_SHARE: u32 = 2;

/// The reads of all callers.
pub(super) struct ReadQueue {
    reads_max: usize,
    /// The turns of the callers that have a read.
    callers: Mutex<HashMap<Actor, Arc<Semaphore>>>,
}

impl ReadQueue {
    /// Makes a queue for a database with this number of connections for reads.
    pub(super) fn new(connections: u32) -> Self {
        let reads_max = usize::try_from(connections / CALLER_SHARE).unwrap_or(1).max(1);
        Self { reads_max, callers: Mutex::default() }
    }

    /// Waits for the turn of a read of this caller. The turn lasts until the returned value is dropped.
    pub(super) async fn turn(&self, actor: Actor) -> ReadTurn<'_> {
        let turns = {
            let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(callers.entry(actor.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.reads_max))))
        };
        // Dropped also if the wait is given up, so that nothing is kept for callers without reads.
        let mut turn = ReadTurn { queue: self, actor, turns: Some(Arc::clone(&turns)), permit: None };
        // The semaphore is never closed.
        turn.permit = turns.acquire_owned().await.ok();
        turn
    }
}

/// The turn of a read, or its place among those that wait.
pub(super) struct ReadTurn<'a> {
    queue: &'a ReadQueue,
    actor: Actor,
    turns: Option<Arc<Semaphore>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for ReadTurn<'_> {
    fn drop(&mut self) {
        self.permit = None;
        let mut callers = self.queue.callers.lock().unwrap_or_else(PoisonError::into_inner);
        self.turns = None;
        // New references are made under the lock only: without others, no read of the caller is left.
        if callers.get(&self.actor).is_some_and(|turns| Arc::strong_count(turns) == 1) {
            callers.remove(&self.actor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn actor(id: &str) -> Actor {
        Actor::new(id).unwrap()
    }

    #[tokio::test]
    async fn a_caller_has_half_of_the_connections_and_its_reads_wait_in_order() {
        let queue = ReadQueue::new(4);
        let turn = |id| queue.turn(actor(id));
        let [first, second] = [(); 2].map(|()| turn("a").now_or_never().expect("a free connection"));
        let mut waiting = [turn("a").boxed(), turn("a").boxed()];
        assert!(waiting.iter_mut().all(|turn| turn.now_or_never().is_none()));
        let other = turn("b").now_or_never().expect("another caller does not wait");
        drop(first);
        let [third, mut fourth] = waiting;
        let third = third.now_or_never().expect("its turn");
        assert!((&mut fourth).now_or_never().is_none());
        drop((second, third, other));
        drop(fourth.now_or_never().expect("its turn"));
        assert!(queue.callers.lock().unwrap().is_empty(), "nothing is kept for callers without reads");
    }

    #[tokio::test]
    async fn a_read_that_is_given_up_leaves_the_queue() {
        let queue = ReadQueue::new(1);
        let first = queue.turn(actor("a")).now_or_never().expect("there is always one turn");
        let mut given_up = queue.turn(actor("a")).boxed();
        assert!((&mut given_up).now_or_never().is_none());
        let mut next = queue.turn(actor("a")).boxed();
        assert!((&mut next).now_or_never().is_none());
        drop(given_up);
        drop(first);
        drop(next.now_or_never().expect("its turn"));
        assert!(queue.callers.lock().unwrap().is_empty());
    }
}
