//! Virtual time and tasks. The next event is the earliest one; events of the same instant occur in the order of their
//! planning.
//!
//! A task is a future that only this file polls. It is woken by its ID and must tolerate spurious wake-ups.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::process::Process;
use crate::world::World;

/// True time in nanoseconds since the start of the run. No process can read it.
pub(crate) type Time = u64;
pub(crate) const MICROSECOND: Time = 1_000;
pub(crate) const MILLISECOND: Time = 1_000_000;
pub(crate) const SECOND: Time = 1_000_000_000;

/// The ID of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TaskId {
    slot: usize,
    /// The number of earlier tasks in the slot.
    generation: u64,
}

type Work = Pin<Box<dyn Future<Output = ()>>>;
type Action = Box<dyn FnOnce(&Rc<World>)>;

/// What an event does.
enum Effect {
    Wake(TaskId),
    Do(Action),
}

struct Planned {
    at: Time,
    order: u64,
    what: Effect,
}

impl Ord for Planned {
    /// The earliest event is the greatest, since the heap pops the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}

#[derive(Default)]
struct Slot {
    generation: u64,
    /// The process of the task. The task pauses and ends with it.
    owner: Option<Rc<Process>>,
    work: Option<Work>,
}

/// The events and tasks of a run.
#[derive(Default)]
pub(crate) struct Scheduler {
    now: Cell<Time>,
    order: Cell<u64>,
    events: Cell<u64>,
    hash: Cell<u64>,
    plan: RefCell<BinaryHeap<Planned>>,
    slots: RefCell<Vec<Slot>>,
    free: RefCell<Vec<usize>>,
    current: Cell<TaskId>,
}

impl Scheduler {
    pub(crate) fn now(&self) -> Time {
        self.now.get()
    }

    /// The running task.
    pub(crate) fn current(&self) -> TaskId {
        self.current.get()
    }

    /// The number of past events.
    pub(crate) fn events(&self) -> u64 {
        self.events.get()
    }

    /// A hash of the run's events, to compare runs.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.get()
    }

    /// Mixes a value into [`Scheduler::hash`].
    pub(crate) fn mix(&self, value: u64) {
        self.hash.set((self.hash.get() ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
    }

    pub(crate) fn wake(&self, task: TaskId) {
        self.wake_at(self.now(), task);
    }

    pub(crate) fn wake_at(&self, at: Time, task: TaskId) {
        self.put(at, Effect::Wake(task));
    }

    pub(crate) fn plan(&self, at: Time, action: impl FnOnce(&Rc<World>) + 'static) {
        self.put(at, Effect::Do(Box::new(action)));
    }

    fn put(&self, at: Time, what: Effect) {
        let order = self.order.get();
        self.order.set(order + 1);
        self.plan.borrow_mut().push(Planned { at: at.max(self.now()), order, what });
    }

    /// Starts a task of a process, or of the world if `owner` is None.
    pub(crate) fn spawn(&self, owner: Option<Rc<Process>>, work: impl Future<Output = ()> + 'static) -> TaskId {
        let mut slots = self.slots.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            slots.push(Slot::default());
            slots.len() - 1
        });
        let mut id = TaskId { slot: index, generation: 0 };
        if let Some(slot) = slots.get_mut(index) {
            id.generation = slot.generation;
            slot.owner = owner;
            slot.work = Some(Box::pin(work));
        }
        drop(slots);
        self.wake(id);
        id
    }

    /// Drops all tasks of a process at their current steps.
    pub(crate) fn kill(&self, process: &Rc<Process>) {
        self.end(|slot| slot.owner.as_ref().is_some_and(|owner| Rc::ptr_eq(owner, process)));
    }

    /// Drops all tasks and events, to break their reference cycles with the world.
    pub(crate) fn clear(&self) {
        self.end(|_| true);
        self.plan.borrow_mut().clear();
    }

    fn end(&self, matches: impl Fn(&Slot) -> bool) {
        let mut ended = Vec::new();
        for (index, slot) in self.slots.borrow_mut().iter_mut().enumerate() {
            if slot.owner.is_some() || slot.work.is_some() {
                if !matches(slot) {
                    continue;
                }
                slot.generation += 1;
                ended.push((slot.work.take(), slot.owner.take()));
                self.free.borrow_mut().push(index);
            }
        }
        // Dropping a task closes its connections, which borrows the plan.
        drop(ended);
    }

    fn poll(&self, task: TaskId) {
        let taken = match self.slots.borrow_mut().get_mut(task.slot) {
            Some(slot) if slot.generation == task.generation => {
                if let Some(owner) = slot.owner.as_ref().filter(|owner| owner.is_paused()) {
                    owner.hold(task);
                    return;
                }
                slot.work.take()
            }
            _ => None,
        };
        let Some(mut work) = taken else { return };
        self.current.set(task);
        let poll = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let mut ended = None;
        if let Some(slot) = self.slots.borrow_mut().get_mut(task.slot).filter(|slot| slot.generation == task.generation)
        {
            if poll.is_pending() {
                slot.work = Some(work);
                return;
            }
            slot.generation += 1;
            ended = slot.owner.take();
            self.free.borrow_mut().push(task.slot);
        }
        drop((work, ended));
    }
}

/// Runs the next event. False if there is none.
pub(crate) fn advance(world: &Rc<World>) -> bool {
    let scheduler = &world.scheduler;
    let Some(next) = scheduler.plan.borrow_mut().pop() else { return false };
    scheduler.now.set(next.at);
    world.check.set_now(next.at);
    scheduler.events.set(scheduler.events.get() + 1);
    scheduler.mix(next.at ^ (next.order << 40));
    match next.what {
        Effect::Wake(task) => scheduler.poll(task),
        Effect::Do(action) => action(world),
    }
    true
}

impl World {
    pub(crate) fn now(&self) -> Time {
        self.scheduler.now()
    }

    /// Waits until the instant `at`.
    pub(crate) async fn sleep_until(&self, at: Time) {
        self.scheduler.wake_at(at, self.scheduler.current());
        poll_fn(|_| if self.now() >= at { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    pub(crate) async fn sleep(&self, duration: Time) {
        self.sleep_until(self.now() + duration).await;
    }

    /// Runs `work` until the instant `end`. Returns its result, or None after `end`; then `work` is dropped.
    pub(crate) async fn until<T>(&self, end: Time, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        self.scheduler.wake_at(end, self.scheduler.current());
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.now() >= end => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}
