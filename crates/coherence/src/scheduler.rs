//! Virtual time and tasks: what happens next is the earliest of what was planned, and of several at once the first planned.
//!
//! A task is a future that nothing but this file polls. It is woken by its id; to be woken for nothing must not hurt it.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::process::Process;
use crate::world::World;

/// True time: nanoseconds since the run began. No process can see it.
pub(crate) type Time = u64;
pub(crate) const MICROSECOND: Time = 1_000;
pub(crate) const MILLISECOND: Time = 1_000_000;
pub(crate) const SECOND: Time = 1_000_000_000;

/// The name of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TaskId {
    slot: usize,
    /// How many tasks had the slot before.
    generation: u64,
}

type Work = Pin<Box<dyn Future<Output = ()>>>;
type Deed = Box<dyn FnOnce(&Rc<World>)>;

/// What happens at an instant.
enum Happening {
    Wake(TaskId),
    Do(Deed),
}

struct Planned {
    at: Time,
    order: u64,
    what: Happening,
}

impl Ord for Planned {
    /// The earliest is the greatest: the heap gives the greatest first.
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
    /// The process that the task is part of, with which it pauses and dies.
    owner: Option<Rc<Process>>,
    work: Option<Work>,
}

/// The plan of a run.
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

    /// The task that runs.
    pub(crate) fn current(&self) -> TaskId {
        self.current.get()
    }

    /// How much has happened.
    pub(crate) fn events(&self) -> u64 {
        self.events.get()
    }

    /// A number that tells this run from any other.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.get()
    }

    /// Mixes something that was decided into [`Scheduler::hash`].
    pub(crate) fn mix(&self, value: u64) {
        self.hash.set((self.hash.get() ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
    }

    pub(crate) fn wake(&self, task: TaskId) {
        self.wake_at(self.now(), task);
    }

    pub(crate) fn wake_at(&self, at: Time, task: TaskId) {
        self.put(at, Happening::Wake(task));
    }

    pub(crate) fn plan(&self, at: Time, deed: impl FnOnce(&Rc<World>) + 'static) {
        self.put(at, Happening::Do(Box::new(deed)));
    }

    fn put(&self, at: Time, what: Happening) {
        let order = self.order.get();
        self.order.set(order + 1);
        self.plan.borrow_mut().push(Planned { at: at.max(self.now()), order, what });
    }

    /// Starts a task, as part of a process or of the world around.
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

    /// Ends all tasks of a process, wherever they are.
    pub(crate) fn kill(&self, process: &Rc<Process>) {
        self.end(|slot| slot.owner.as_ref().is_some_and(|owner| Rc::ptr_eq(owner, process)));
    }

    /// Ends everything, so that nothing keeps the world alive.
    pub(crate) fn clear(&self) {
        self.end(|_| true);
        self.plan.borrow_mut().clear();
    }

    fn end(&self, is_meant: impl Fn(&Slot) -> bool) {
        let mut ended = Vec::new();
        for (index, slot) in self.slots.borrow_mut().iter_mut().enumerate() {
            if slot.owner.is_some() || slot.work.is_some() {
                if !is_meant(slot) {
                    continue;
                }
                slot.generation += 1;
                ended.push((slot.work.take(), slot.owner.take()));
                self.free.borrow_mut().push(index);
            }
        }
        // A task that ends hangs up its connections, for which the plan must be free.
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

/// Lets the next thing happen. False when nothing will.
pub(crate) fn advance(world: &Rc<World>) -> bool {
    let scheduler = &world.scheduler;
    let Some(next) = scheduler.plan.borrow_mut().pop() else { return false };
    scheduler.now.set(next.at);
    world.check.set_now(next.at);
    scheduler.events.set(scheduler.events.get() + 1);
    scheduler.mix(next.at ^ (next.order << 40));
    match next.what {
        Happening::Wake(task) => scheduler.poll(task),
        Happening::Do(deed) => deed(world),
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

    /// The result of `work`, unless it is not there at the instant `end`: then the work is dropped.
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
