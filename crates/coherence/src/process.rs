//! A host and its process: the counterpart of [`ReplicaState`] in production, and Verify, which reads it.
//!
//! A pause stops all tasks of a process while its clock continues. After a kill, only the messages that it sent remain.
//!
//! [`ReplicaState`]: key_authority_replica::ReplicaState

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_replica::clock::Boottime;
use key_authority_replica::protocol::lease::may_answer;
use key_authority_replica::protocol::observed::Observed;

use crate::clock::Clock;
use crate::replicator;
use crate::scheduler::{MICROSECOND, TaskId, Time};
use crate::statement::{Key, KeySet, only};
use crate::variant::Variant;
use crate::world::World;

/// A machine: its clock, its link to the database, and its process, if it runs one.
pub(crate) struct Host {
    pub(crate) number: usize,
    pub(crate) clock: Clock,
    /// The lag of the log that this host reads; 0 except in an unsafe variant.
    pub(crate) lag: Time,
    /// Whether it has many faults.
    pub(crate) is_frail: bool,
    pub(crate) cut_until: Cell<Time>,
    process: RefCell<Option<Rc<Process>>>,
}

impl Host {
    pub(crate) fn new(number: usize, clock: Clock, lag: Time, is_frail: bool) -> Self {
        Self { number, clock, lag, is_frail, cut_until: Cell::new(0), process: RefCell::new(None) }
    }

    pub(crate) fn process(&self) -> Option<Rc<Process>> {
        self.process.borrow().clone()
    }

    /// Starts a new process.
    pub(crate) fn start(self: &Rc<Self>, world: &Rc<World>) {
        let process = Rc::new(Process::new(Rc::clone(self)));
        *self.process.borrow_mut() = Some(Rc::clone(&process));
        world.note(|| format!("{self} starts"));
        let server = Server { world: Rc::clone(world), process: Rc::clone(&process) };
        let task = world.scheduler.spawn(Some(Rc::clone(&process)), replicator::run(server));
        process.replicator.set(task);
    }

    /// Drops the process at the end of a run, to break the reference cycle between host and process.
    pub(crate) fn forget(&self) {
        *self.process.borrow_mut() = None;
    }

    /// Kills the process at its current step.
    pub(crate) fn kill(&self, world: &Rc<World>) {
        let process = self.process.borrow_mut().take();
        if let Some(process) = process {
            world.note(|| format!("{self} is killed"));
            world.scheduler.kill(&process);
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replica {}", self.number)
    }
}

/// The state of a process.
pub(crate) struct Process {
    pub(crate) host: Rc<Host>,
    pub(crate) me: Cell<Option<ReplicaId>>,
    pub(crate) observed: RefCell<Observed>,
    pub(crate) is_leaving: Cell<bool>,
    /// Whether its replicator has ended.
    pub(crate) has_left: Cell<bool>,
    /// The keys that this process holds as revoked. Before it has loaded the keys, it accepts none.
    pub(crate) index: Cell<KeySet>,
    /// When the last acknowledged heartbeat began. Only the checks read it.
    pub(crate) confirmed: Cell<Option<Boottime>>,
    deadline: Cell<Boottime>,
    applied: Cell<Revision>,
    replicator: Cell<TaskId>,
    is_woken: Cell<bool>,
    /// The tasks that wait for [`Process::applied`] to change.
    waiting: RefCell<Vec<TaskId>>,
    paused_until: Cell<Time>,
    is_paused: Cell<bool>,
    paused: Cell<Time>,
    held: RefCell<Vec<TaskId>>,
}

impl Process {
    fn new(host: Rc<Host>) -> Self {
        Self {
            host,
            me: Cell::new(None),
            observed: RefCell::default(),
            is_leaving: Cell::new(false),
            has_left: Cell::new(false),
            index: Cell::new(KeySet::MAX),
            confirmed: Cell::new(None),
            deadline: Cell::new(Boottime(0)),
            applied: Cell::new(Revision(-1)),
            replicator: Cell::default(),
            is_woken: Cell::new(false),
            waiting: RefCell::default(),
            paused_until: Cell::new(0),
            is_paused: Cell::new(false),
            paused: Cell::new(0),
            held: RefCell::default(),
        }
    }

    pub(crate) fn applied(&self) -> Revision {
        self.applied.get()
    }

    /// The total time of its pauses.
    pub(crate) fn paused(&self) -> Time {
        self.paused.get()
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused.get()
    }

    /// Defers a task that was woken while the process is paused.
    pub(crate) fn hold(&self, task: TaskId) {
        self.held.borrow_mut().push(task);
    }

    /// Wakes the replicator, now or at its next rest.
    pub(crate) fn wake(&self, world: &World) {
        self.is_woken.set(true);
        world.scheduler.wake(self.replicator.get());
    }

    /// Whether the replicator was woken; resets the flag.
    pub(crate) fn take_wake(&self) -> bool {
        self.is_woken.replace(false)
    }

    /// Pauses the whole process, like SIGSTOP.
    pub(crate) fn pause(self: &Rc<Self>, world: &Rc<World>, length: Time) {
        let end = world.now() + length;
        if length == 0 || self.paused_until.get() >= end {
            return;
        }
        world.note(|| format!("{} is paused for {} ms", self.host, length / 1_000_000));
        world.statistics.borrow_mut().pauses += 1;
        self.is_paused.set(true);
        self.paused_until.set(end);
        let process = Rc::clone(self);
        world.scheduler.plan(end, move |world| process.resume(world, length));
    }

    fn resume(&self, world: &World, length: Time) {
        // Overlapping pauses count twice. That is safe: the sum only extends a tolerance.
        self.paused.set(self.paused.get() + length);
        if world.now() < self.paused_until.get() {
            return;
        }
        self.is_paused.set(false);
        world.note(|| format!("{} continues", self.host));
        for task in self.held.take() {
            world.scheduler.wake(task);
        }
        world.probe(self);
    }
}

/// A process and its world, for its tasks.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) world: Rc<World>,
    pub(crate) process: Rc<Process>,
}

/// The outcome of a Verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Denied,
    /// The replica has no lease.
    Unavailable,
}

impl Server {
    pub(crate) fn boottime(&self) -> Boottime {
        self.process.host.clock.at(self.world.now())
    }

    /// Runs `work` until the clock of this host shows `reading`, and drops it then.
    pub(crate) async fn until<T>(&self, reading: Boottime, work: impl Future<Output = T>) -> Option<T> {
        self.world.until(self.process.host.clock.when(reading), work).await
    }

    /// A point between two steps, at which the process may be paused.
    pub(crate) async fn step(&self) {
        let world = &self.world;
        if world.befalls(&self.process.host, world.profile.paused_at_step) {
            self.process.pause(world, world.fault_length());
            world.sleep(1).await;
        }
    }

    /// A point at which the process may be paused or this task alone delayed, like a thread that is not scheduled.
    pub(crate) async fn stall(&self) {
        let world = &self.world;
        self.step().await;
        if world.befalls(&self.process.host, world.profile.stalled) {
            let length = world.delay();
            world.note(|| format!("{} stalls for {} ms", self.process.host, length / 1_000_000));
            world.sleep(length).await;
        }
    }

    /// Publishes lease and applied revision to the readers.
    pub(crate) fn publish(&self, deadline: Boottime, applied: Revision) {
        self.process.deadline.set(deadline);
        if self.process.applied.replace(applied) != applied {
            for task in self.process.waiting.take() {
                self.world.scheduler.wake(task);
            }
        }
        self.world.probe(&self.process);
    }

    /// Waits until this process has applied the revision.
    pub(crate) async fn wait_until_applied(&self, revision: Revision) {
        std::future::poll_fn(|_| {
            if self.process.applied.get() >= revision {
                return std::task::Poll::Ready(());
            }
            self.process.waiting.borrow_mut().push(self.world.scheduler.current());
            std::task::Poll::Pending
        })
        .await;
    }

    /// Verify, like [`ReplicaState::find`](key_authority_replica::ReplicaState::find): it reads the deadline, the clock
    /// and the index, in this order, and other tasks may run in between.
    pub(crate) async fn verify(&self, key: Key) -> Verdict {
        let deadline = self.process.deadline.get();
        self.step().await;
        if !self.process.may_answer(&self.world, deadline) {
            return Verdict::Unavailable;
        }
        self.stall().await;
        let verdict = if self.process.index.get() & only(key) == 0 { Verdict::Accepted } else { Verdict::Denied };
        if self.world.rng.happens(10_000) {
            self.world.sleep(self.world.rng.between(0, 300 * MICROSECOND)).await;
        }
        verdict
    }
}

impl Process {
    /// Whether a Verify that loaded `deadline` may answer.
    fn may_answer(&self, world: &World, deadline: Boottime) -> bool {
        let now = self.host.clock.at(world.now());
        let may = may_answer(deadline, now);
        if may {
            world.check.answers(self, world.terms.trust, now);
        }
        may || world.variant == Some(Variant::NoLease)
    }

    /// The keys that a Verify at this instant would accept.
    pub(crate) fn accepts_now(&self, world: &World) -> KeySet {
        let is_silent = self.is_paused() || !self.may_answer(world, self.deadline.get());
        if is_silent { 0 } else { !self.index.get() }
    }
}
