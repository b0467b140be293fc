//! The queue of writers in this process.
//!
//! All changes wait for the lock of the single `authority` row. The queue keeps the pool's connections free for readers
//! while writers wait, and it is fair, unlike the lock of SQLite:
//!
//! - Changes that end a key or an account ([`Urgency::Ending`]) have priority over ordinary ones, so a flood of changes
//!   by a caller cannot delay that caller's revocation.
//! - Callers are served round robin, one change each, so a flood by one caller delays another caller's change by only
//!   one change of the flood.
//! - After [`ENDING_IN_A_ROW`] ending changes, an ordinary one is served.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use key_authority_domain::id::Actor;
use tokio::sync::oneshot;

/// Maximum number of consecutive ending changes while an ordinary one waits.
const ENDING_IN_A_ROW: u32 = 16;

/// The priority of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Urgency {
    /// After all ending changes.
    #[default]
    Ordinary,
    /// Ends a key or an account: before all ordinary changes.
    Ending,
}

/// The queue of writers. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriterQueue(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_taken: bool,
    /// Number of ending changes served since the last ordinary one.
    ending_in_a_row: u32,
    ending: FairQueue,
    ordinary: FairQueue,
}

/// Waiting changes by caller. None stands for the process itself.
#[derive(Debug, Default)]
struct FairQueue {
    /// The callers with waiting changes, in round-robin order.
    turns: VecDeque<Option<Actor>>,
    waiting: HashMap<Option<Actor>, VecDeque<oneshot::Sender<WriterTurn>>>,
    len: usize,
}

impl FairQueue {
    fn push(&mut self, actor: Option<Actor>, sender: oneshot::Sender<WriterTurn>) {
        let of_actor = self.waiting.entry(actor.clone()).or_default();
        if of_actor.is_empty() {
            self.turns.push_back(actor);
        }
        of_actor.push_back(sender);
        self.len += 1;
    }

    /// Removes the next waiting change. Cancelled changes are dropped and use no turn.
    fn pop(&mut self) -> Option<oneshot::Sender<WriterTurn>> {
        while let Some(actor) = self.turns.pop_front() {
            let of_actor = self.waiting.get_mut(&actor)?;
            let mut next = None;
            while let Some(sender) = of_actor.pop_front() {
                self.len -= 1;
                if !sender.is_closed() {
                    next = Some(sender);
                    break;
                }
            }
            if of_actor.is_empty() {
                self.waiting.remove(&actor);
            } else {
                self.turns.push_back(actor);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }
}

/// The turn of a writer. Dropping it passes the turn to the next writer.
#[derive(Debug)]
pub(crate) struct WriterTurn {
    /// None after the turn was passed on.
    queue: Option<WriterQueue>,
}

impl WriterQueue {
    /// Waits for the turn. Dropping the future leaves the queue.
    pub(crate) async fn turn(&self, urgency: Urgency, actor: Option<&Actor>) -> WriterTurn {
        let waiting = {
            let mut state = self.state();
            if !state.is_taken {
                state.is_taken = true;
                return self.new_turn();
            }
            let (sender, receiver) = oneshot::channel();
            let queue = match urgency {
                Urgency::Ending => &mut state.ending,
                Urgency::Ordinary => &mut state.ordinary,
            };
            queue.push(actor.cloned(), sender);
            receiver
        };
        match waiting.await {
            Ok(turn) => turn,
            // Unreachable: a sender is dropped only with the queue, and this future holds the queue.
            Err(_) => std::future::pending().await,
        }
    }

    /// Number of waiting changes, ending and ordinary. Some may have been cancelled since.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let state = self.state();
        (state.ending.len, state.ordinary.len)
    }

    fn new_turn(&self) -> WriterTurn {
        WriterTurn { queue: Some(self.clone()) }
    }

    /// Passes the turn to the next waiting writer.
    fn pass_on(&self) {
        loop {
            let next = {
                let mut state = self.state();
                let next = state.next();
                state.is_taken = next.is_some();
                next
            };
            let Some(next) = next else { return };
            let Err(mut rejected) = next.send(self.new_turn()) else { return };
            // That writer was cancelled. Dropping its turn must not pass the turn on again.
            rejected.queue = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> Option<oneshot::Sender<WriterTurn>> {
        if self.ending_in_a_row >= ENDING_IN_A_ROW
            && let Some(ordinary) = self.ordinary.pop()
        {
            self.ending_in_a_row = 0;
            return Some(ordinary);
        }
        if let Some(ending) = self.ending.pop() {
            self.ending_in_a_row += 1;
            return Some(ending);
        }
        self.ending_in_a_row = 0;
        self.ordinary.pop()
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

    /// A waiting change of `actor`.
    fn waiting(queue: &WriterQueue, urgency: Urgency, actor: &str) -> BoxFuture<'static, WriterTurn> {
        let (queue, actor) = (queue.clone(), Actor::new(actor).unwrap());
        let mut turn = async move { queue.turn(urgency, Some(&actor)).await }.boxed();
        assert!((&mut turn).now_or_never().is_none(), "another change has the turn");
        turn
    }

    #[tokio::test]
    async fn an_ending_change_has_priority_over_waiting_ordinary_changes() {
        let queue = WriterQueue::default();
        let first = queue.turn(Urgency::Ordinary, None).await;
        let mut ordinary = waiting(&queue, Urgency::Ordinary, "a");
        let mut ending = [waiting(&queue, Urgency::Ending, "b"), waiting(&queue, Urgency::Ending, "b")];
        drop(first);
        for turn in &mut ending {
            assert!((&mut ordinary).now_or_never().is_none());
            drop(turn.now_or_never().expect("its turn"));
        }
        assert!(ordinary.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_cancelled_change_uses_no_turn() {
        let queue = WriterQueue::default();
        let first = queue.turn(Urgency::Ordinary, None).await;
        drop(waiting(&queue, Urgency::Ordinary, "a"));
        let ordinary = waiting(&queue, Urgency::Ordinary, "c");
        let mut flood: VecDeque<_> = (0..=ENDING_IN_A_ROW).map(|_| waiting(&queue, Urgency::Ending, "b")).collect();
        drop(first);
        for _ in 0..ENDING_IN_A_ROW {
            drop(flood.pop_front().unwrap().now_or_never().expect("its turn"));
        }
        assert!(ordinary.now_or_never().is_some(), "a cancelled change uses the turn of the ordinary changes");
    }

    #[tokio::test]
    async fn a_flood_of_ending_changes_does_not_starve_ordinary_changes() {
        let queue = WriterQueue::default();
        let first = queue.turn(Urgency::Ordinary, None).await;
        let mut ordinary = waiting(&queue, Urgency::Ordinary, "a");
        let mut flood: VecDeque<_> = (0..=ENDING_IN_A_ROW).map(|_| waiting(&queue, Urgency::Ending, "b")).collect();
        assert_eq!(queue.waiting(), (flood.len(), 1));
        drop(first);
        for _ in 0..ENDING_IN_A_ROW {
            drop(flood.pop_front().unwrap().now_or_never().expect("its turn"));
        }
        assert!((&mut ordinary).now_or_never().is_some());
        assert!(flood.pop_front().unwrap().now_or_never().is_some());
    }

    #[tokio::test]
    async fn callers_are_served_round_robin() {
        for urgency in [Urgency::Ordinary, Urgency::Ending] {
            let queue = WriterQueue::default();
            let first = queue.turn(urgency, None).await;
            let mut flood: VecDeque<_> = (0..100).map(|_| waiting(&queue, urgency, "a")).collect();
            let mut other = waiting(&queue, urgency, "b");
            drop(first);
            let turn = flood.pop_front().unwrap().now_or_never().expect("the first of the flood");
            assert!((&mut other).now_or_never().is_none());
            drop(turn);
            drop(other.now_or_never().expect("not behind the whole flood"));
            assert!(flood.pop_front().unwrap().now_or_never().is_some());
        }
    }

    #[tokio::test]
    async fn a_cancelled_writer_does_not_block_the_queue() {
        let queue = WriterQueue::default();
        let first = queue.turn(Urgency::Ordinary, None).await;
        let [left_before, left_after, last] = ["a", "a", "b"].map(|actor| waiting(&queue, Urgency::Ordinary, actor));
        drop(left_before);
        drop(first);
        // It may have received the turn without having been polled.
        drop(left_after);
        assert!(last.now_or_never().is_some());
        assert!(queue.turn(Urgency::Ordinary, None).now_or_never().is_some(), "the queue is empty again");
        assert_eq!(queue.waiting(), (0, 0));
    }
}
