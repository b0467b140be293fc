//! The queue of writers in this process.
//!
//! All changes wait for the lock of the one `authority` row. Waiting here first keeps the pool's connections free for
//! readers, and is fair, which SQLite's own waiting is not. A change that ends something ([`Urgency::Ending`]) passes
//! every ordinary one that waits: a flood of changes by a caller cannot delay that caller's revocation. Nor can a flood of
//! ending changes stop all others: after [`ENDING_IN_A_ROW`] of them one ordinary change has its turn.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How many ending changes may have their turn one after another while an ordinary one waits.
const ENDING_IN_A_ROW: u32 = 16;

/// How urgent a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Urgency {
    /// In the order of arrival.
    #[default]
    Ordinary,
    /// Ends a key or an account: ahead of all ordinary changes.
    Ending,
}

/// The queue. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriterQueue(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_taken: bool,
    /// How many ending changes had their turn since the last ordinary one.
    ending_in_a_row: u32,
    ending: VecDeque<oneshot::Sender<WriterTurn>>,
    ordinary: VecDeque<oneshot::Sender<WriterTurn>>,
}

/// The head of the queue, held until it is dropped.
#[derive(Debug)]
pub(crate) struct WriterTurn {
    /// None once it was passed on.
    queue: Option<WriterQueue>,
}

impl WriterQueue {
    /// Waits for the head of the queue. Dropping the future leaves the queue.
    pub(crate) async fn turn(&self, urgency: Urgency) -> WriterTurn {
        let waiting = {
            let mut state = self.state();
            if !state.is_taken {
                state.is_taken = true;
                return self.new_turn();
            }
            let (sender, receiver) = oneshot::channel();
            match urgency {
                Urgency::Ending => state.ending.push_back(sender),
                Urgency::Ordinary => state.ordinary.push_back(sender),
            }
            receiver
        };
        match waiting.await {
            Ok(turn) => turn,
            // A sender is only dropped with the queue, which this future holds.
            Err(_) => std::future::pending().await,
        }
    }

    /// How many changes wait, ending and ordinary ones. Some may have been given up since.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let state = self.state();
        (state.ending.len(), state.ordinary.len())
    }

    fn new_turn(&self) -> WriterTurn {
        WriterTurn { queue: Some(self.clone()) }
    }

    /// Hands the turn to the next writer that still waits.
    fn pass_on(&self) {
        loop {
            let next = {
                let mut state = self.state();
                let next = state.next();
                state.is_taken = next.is_some();
                next
            };
            let Some(next) = next else { return };
            let Err(mut refused) = next.send(self.new_turn()) else { return };
            // That writer has given up. Its turn must not pass itself on as well.
            refused.queue = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> Option<oneshot::Sender<WriterTurn>> {
        let is_ordinarys_turn = self.ending_in_a_row >= ENDING_IN_A_ROW && !self.ordinary.is_empty();
        if !is_ordinarys_turn && let Some(ending) = self.ending.pop_front() {
            self.ending_in_a_row += 1;
            return Some(ending);
        }
        self.ending_in_a_row = 0;
        self.ordinary.pop_front()
    }
}

impl Drop for WriterTurn {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    /// A writer that waits behind the ones before it.
    fn waiting(queue: &WriterQueue, urgency: Urgency) -> BoxFuture<'static, WriterTurn> {
        let queue = queue.clone();
        let mut turn = async move { queue.turn(urgency).await }.boxed();
        assert!((&mut turn).now_or_never().is_none(), "somebody else has the turn");
        turn
    }

    #[tokio::test]
    async fn an_ending_change_passes_all_ordinary_ones_that_wait() {
        let queue = WriterQueue::default();
        let first = queue.turn(Urgency::Ordinary).await;
        let mut ordinary = waiting(&queue, Urgency::Ordinary);
        let mut ending = [waiting(&queue, Urgency::Ending), waiting(&queue, Urgency::Ending)];
        drop(first);
        for turn in &mut ending {
            assert!((&mut ordinary).now_or_never().is_none());
            drop(turn.now_or_never().expect("its turn"));
        }
        assert!(ordinary.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_flood_of_ending_changes_does_not_stop_the_others() {
        let queue = WriterQueue::default();
        let first = queue.turn(Urgency::Ordinary).await;
        let mut ordinary = waiting(&queue, Urgency::Ordinary);
        let mut flood: VecDeque<_> = (0..=ENDING_IN_A_ROW).map(|_| waiting(&queue, Urgency::Ending)).collect();
        assert_eq!(queue.waiting(), (flood.len(), 1));
        drop(first);
        for _ in 0..ENDING_IN_A_ROW {
            drop(flood.pop_front().unwrap().now_or_never().expect("its turn"));
        }
        assert!((&mut ordinary).now_or_never().is_some());
        assert!(flood.pop_front().unwrap().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_writer_that_gave_up_holds_nobody_up() {
        let queue = WriterQueue::default();
        let first = queue.turn(Urgency::Ordinary).await;
        let (left_before, left_after) = (waiting(&queue, Urgency::Ordinary), waiting(&queue, Urgency::Ordinary));
        let last = waiting(&queue, Urgency::Ordinary);
        drop(left_before);
        drop(first);
        // It was given the turn, and never looked.
        drop(left_after);
        assert!(last.now_or_never().is_some());
        assert!(queue.turn(Urgency::Ordinary).now_or_never().is_some(), "the queue is empty again");
    }
}
