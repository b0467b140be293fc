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
//! - At most [`WAITING_MAX`] changes of one caller wait, of each urgency. Further ones are rejected. The process's own
//!   changes are few and have no limit.
//! - A cancelled change leaves the queue at once, so the queue holds nothing for callers that have gone.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use key_authority_domain::id::Actor;
use tokio::sync::oneshot;

/// Maximum number of consecutive ending changes while an ordinary one waits.
const ENDING_IN_A_ROW: u32 = 16;
/// Maximum number of waiting changes of one caller, of each urgency.
pub(crate) const WAITING_MAX: usize = 256;

/// The priority of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Urgency {
    /// After all ending changes.
    #[default]
    Ordinary,
    /// Ends a key or an account: before all ordinary changes.
    Ending,
}

/// The caller has [`WAITING_MAX`] waiting changes already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueFull;

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

/// Whose change waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Writer {
    Process,
    Caller(Actor),
}

/// Waiting changes by writer.
#[derive(Debug, Default)]
struct FairQueue {
    /// The writers with waiting changes, by the number of their turn.
    turns: BTreeMap<u64, Writer>,
    writers: HashMap<Writer, WaitingChanges>,
    /// The number of the next turn or ticket.
    next: u64,
    len: usize,
}

/// The waiting changes of one writer; never empty.
#[derive(Debug)]
struct WaitingChanges {
    /// The number of the writer's turn in [`FairQueue::turns`].
    turn: u64,
    /// The changes by the number of their ticket, oldest first.
    changes: BTreeMap<u64, oneshot::Sender<WriterTurn>>,
}

impl FairQueue {
    /// Adds a change, and returns its ticket.
    fn push(&mut self, writer: &Writer, sender: oneshot::Sender<WriterTurn>) -> Result<u64, QueueFull> {
        let ticket = self.next;
        if let Some(waiting) = self.writers.get_mut(writer) {
            if *writer != Writer::Process && waiting.changes.len() >= WAITING_MAX {
                return Err(QueueFull);
            }
            waiting.changes.insert(ticket, sender);
        } else {
            self.turns.insert(ticket, writer.clone());
            let changes = BTreeMap::from([(ticket, sender)]);
            self.writers.insert(writer.clone(), WaitingChanges { turn: ticket, changes });
        }
        self.next += 1;
        self.len += 1;
        Ok(ticket)
    }

    /// Removes the oldest change of the writer whose turn is next.
    fn pop(&mut self) -> Option<oneshot::Sender<WriterTurn>> {
        while let Some((_, writer)) = self.turns.pop_first() {
            let Some(waiting) = self.writers.get_mut(&writer) else { continue };
            let next = waiting.changes.pop_first();
            self.len -= usize::from(next.is_some());
            if waiting.changes.is_empty() {
                self.writers.remove(&writer);
            } else {
                waiting.turn = self.next;
                self.turns.insert(self.next, writer);
                self.next += 1;
            }
            if let Some((_, sender)) = next {
                return Some(sender);
            }
        }
        None
    }

    /// Removes a change that its caller has cancelled, if it still waits.
    fn remove(&mut self, writer: &Writer, ticket: u64) {
        let Some(waiting) = self.writers.get_mut(writer) else { return };
        self.len -= usize::from(waiting.changes.remove(&ticket).is_some());
        if waiting.changes.is_empty() {
            self.turns.remove(&waiting.turn);
            self.writers.remove(writer);
        }
    }
}

/// A waiting change. Dropping it leaves the queue. If it has already got the turn, dropping the receiver passes the
/// turn on.
struct Waiting<'q> {
    queue: &'q WriterQueue,
    urgency: Urgency,
    writer: Writer,
    ticket: u64,
    receiver: oneshot::Receiver<WriterTurn>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.queue.state().queue(self.urgency).remove(&self.writer, self.ticket);
    }
}

/// The turn of a writer. Dropping it passes the turn to the next writer.
#[derive(Debug)]
pub(crate) struct WriterTurn {
    /// None after the turn was passed on.
    queue: Option<WriterQueue>,
}

impl WriterQueue {
    /// Waits for the turn. `None` is the process itself. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// If the caller has too many waiting changes.
    pub(crate) async fn turn(&self, urgency: Urgency, actor: Option<&Actor>) -> Result<WriterTurn, QueueFull> {
        let mut waiting = {
            let mut state = self.state();
            if !state.is_taken {
                state.is_taken = true;
                return Ok(self.new_turn());
            }
            let (sender, receiver) = oneshot::channel();
            let writer = actor.map_or(Writer::Process, |actor| Writer::Caller(actor.clone()));
            let ticket = state.queue(urgency).push(&writer, sender)?;
            Waiting { queue: self, urgency, writer, ticket, receiver }
        };
        match (&mut waiting.receiver).await {
            Ok(turn) => Ok(turn),
            // Unreachable: a sender is dropped only together with its receiver.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits for the turn of a change of the process itself, which has no limit.
    pub(crate) async fn own_turn(&self, urgency: Urgency) -> WriterTurn {
        match self.turn(urgency, None).await {
            Ok(turn) => turn,
            // Unreachable: only callers have a limit.
            Err(QueueFull) => std::future::pending().await,
        }
    }

    /// Number of waiting changes, ending and ordinary.
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
    fn queue(&mut self, urgency: Urgency) -> &mut FairQueue {
        match urgency {
            Urgency::Ending => &mut self.ending,
            Urgency::Ordinary => &mut self.ordinary,
        }
    }

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
    use std::collections::VecDeque;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    /// A waiting change of `actor`.
    fn waiting(queue: &WriterQueue, urgency: Urgency, actor: &str) -> BoxFuture<'static, WriterTurn> {
        let (queue, actor) = (queue.clone(), Actor::new(actor).unwrap());
        let mut turn = async move { queue.turn(urgency, Some(&actor)).await.expect("room in the queue") }.boxed();
        assert!((&mut turn).now_or_never().is_none(), "another change has the turn");
        turn
    }

    #[tokio::test]
    async fn an_ending_change_has_priority_over_waiting_ordinary_changes() {
        let queue = WriterQueue::default();
        let first = queue.own_turn(Urgency::Ordinary).await;
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
        let first = queue.own_turn(Urgency::Ordinary).await;
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
        let first = queue.own_turn(Urgency::Ordinary).await;
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
            let first = queue.own_turn(urgency).await;
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
        let first = queue.own_turn(Urgency::Ordinary).await;
        let [left_before, left_after, last] = ["a", "a", "b"].map(|actor| waiting(&queue, Urgency::Ordinary, actor));
        drop(left_before);
        drop(first);
        // It may have received the turn without having been polled.
        drop(left_after);
        assert!(last.now_or_never().is_some());
        assert!(queue.own_turn(Urgency::Ordinary).now_or_never().is_some(), "the queue is empty again");
        assert_eq!(queue.waiting(), (0, 0));
    }

    #[tokio::test]
    async fn a_caller_has_a_limit_of_waiting_changes_and_other_callers_keep_theirs() {
        let queue = WriterQueue::default();
        let first = queue.own_turn(Urgency::Ordinary).await;
        let mut flood: VecDeque<_> = (0..WAITING_MAX).map(|_| waiting(&queue, Urgency::Ordinary, "a")).collect();
        let (a, b) = (Actor::new("a").unwrap(), Actor::new("b").unwrap());
        let rejected = queue.turn(Urgency::Ordinary, Some(&a)).now_or_never().expect("an answer at once");
        assert!(matches!(rejected, Err(QueueFull)));
        assert!(queue.turn(Urgency::Ending, Some(&a)).now_or_never().is_none(), "a revocation still waits");
        assert!(queue.turn(Urgency::Ordinary, Some(&b)).now_or_never().is_none(), "another caller still waits");
        assert!(queue.own_turn(Urgency::Ordinary).now_or_never().is_none(), "the process has no limit");
        drop(flood.pop_back());
        flood.push_back(waiting(&queue, Urgency::Ordinary, "a"));
        drop(first);
        assert!(flood.pop_front().unwrap().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_cancelled_change_leaves_the_queue_at_once() {
        let queue = WriterQueue::default();
        let first = queue.own_turn(Urgency::Ordinary).await;
        for round in 0..1_000 {
            let left = [waiting(&queue, Urgency::Ordinary, "a"), waiting(&queue, Urgency::Ending, "b")];
            assert_eq!(queue.waiting(), (1, 1), "round {round}");
            drop(left);
        }
        assert_eq!(queue.waiting(), (0, 0));
        let state = queue.state();
        assert!(state.ordinary.writers.is_empty() && state.ordinary.turns.is_empty(), "{state:?}");
        assert!(state.ending.writers.is_empty() && state.ending.turns.is_empty(), "{state:?}");
        drop(state);
        drop(first);
    }

    #[tokio::test]
    async fn a_caller_that_leaves_and_returns_gets_one_turn_a_round() {
        let queue = WriterQueue::default();
        let first = queue.own_turn(Urgency::Ordinary).await;
        for _ in 0..10 {
            drop(waiting(&queue, Urgency::Ordinary, "a"));
        }
        let mut a: VecDeque<_> = (0..3).map(|_| waiting(&queue, Urgency::Ordinary, "a")).collect();
        let b = waiting(&queue, Urgency::Ordinary, "b");
        drop(first);
        drop(a.pop_front().unwrap().now_or_never().expect("its turn"));
        assert!(b.now_or_never().is_some(), "after one change of the other caller");
    }
}
