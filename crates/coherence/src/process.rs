//! A machine, and the process on it: what [`ReplicaState`] is in production, and Verify, which reads it.
//!
//! A process is paused as a whole, wherever its tasks are, and its clock runs on. When it is killed, nothing of it is left
//! but what it has sent.
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

/// A machine: its clock, its link to the database, and the process that it runs, if it does.
pub(crate) struct Host {
    pub(crate) number: usize,
    pub(crate) clock: Clock,
    /// By how much the copy of the log lags from which this host reads; nothing but in a naive variant.
    pub(crate) lag: Time,
    /// Whether it is one to which much happens.
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

    /// Starts the process anew.
    pub(crate) fn start(self: &Rc<Self>, world: &Rc<World>) {
        let process = Rc::new(Process::new(Rc::clone(self)));
        *self.process.borrow_mut() = Some(Rc::clone(&process));
        world.note(|| format!("{self} starts"));
        let server = Server { world: Rc::clone(world), process: Rc::clone(&process) };
        let task = world.scheduler.spawn(Some(Rc::clone(&process)), replicator::run(server));
        process.replicator.set(task);
    }

    /// Lets go of the process at the end of a run: the two hold each other.
    pub(crate) fn forget(&self) {
        *self.process.borrow_mut() = None;
    }

    /// Kills the process, in the middle of whatever it does.
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

/// What one process knows.
pub(crate) struct Process {
    pub(crate) host: Rc<Host>,
    pub(crate) me: Cell<Option<ReplicaId>>,
    pub(crate) observed: RefCell<Observed>,
    pub(crate) is_leaving: Cell<bool>,
    /// Whether its replicator has ended.
    pub(crate) has_left: Cell<bool>,
    /// The keys that are revoked, as far as is known here. Before anything is loaded none is known, and none would pass.
    pub(crate) index: Cell<KeySet>,
    /// When the last heartbeat began that the database has acknowledged, as the simulation knows it.
    pub(crate) heard: Cell<Option<Boottime>>,
    deadline: Cell<Boottime>,
    applied: Cell<Revision>,
    replicator: Cell<TaskId>,
    is_woken: Cell<bool>,
    /// Those who wait for [`Process::applied`] to move.
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
            heard: Cell::new(None),
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

    /// How long it has been paused, all in all.
    pub(crate) fn paused(&self) -> Time {
        self.paused.get()
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused.get()
    }

    /// Keeps a task that was woken while the process is paused.
    pub(crate) fn hold(&self, task: TaskId) {
        self.held.borrow_mut().push(task);
    }

    /// Wakes the replicator, now or as soon as it rests.
    pub(crate) fn wake(&self, world: &World) {
        self.is_woken.set(true);
        world.scheduler.wake(self.replicator.get());
    }

    /// Whether somebody woke the replicator; that it was told is forgotten.
    pub(crate) fn take_wake(&self) -> bool {
        self.is_woken.replace(false)
    }

    /// Pauses the whole process, as a signal would.
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
        // Pauses that overlap count twice: the sum is used as an allowance only.
        self.paused.set(self.paused.get() + length);
        if world.now() < self.paused_until.get() {
            return;
        }
        self.is_paused.set(false);
        world.note(|| format!("{} goes on", self.host));
        for task in self.held.take() {
            world.scheduler.wake(task);
        }
        world.probe(self);
    }
}

/// A process in its world: what its tasks work with.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) world: Rc<World>,
    pub(crate) process: Rc<Process>,
}

/// What a Verify says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Denied,
    /// There is no lease: nothing is said.
    Unavailable,
}

impl Server {
    pub(crate) fn boottime(&self) -> Boottime {
        self.process.host.clock.at(self.world.now())
    }

    /// Waits until the own clock shows `reading`, and drops the work then.
    pub(crate) async fn until<T>(&self, reading: Boottime, work: impl Future<Output = T>) -> Option<T> {
        self.world.until(self.process.host.clock.when(reading), work).await
    }

    /// A place between two steps: here the process may be paused.
    pub(crate) async fn step(&self) {
        let world = &self.world;
        if world.befalls(&self.process.host, world.profile.paused_at_step) {
            self.process.pause(world, world.fault_length());
            world.sleep(1).await;
        }
    }

    /// A place at which only this task may be held up: a thread that gets no turn.
    pub(crate) async fn stall(&self) {
        let world = &self.world;
        self.step().await;
        if world.befalls(&self.process.host, world.profile.stalled) {
            let length = world.delay();
            world.note(|| format!("{} stalls for {} ms", self.process.host, length / 1_000_000));
            world.sleep(length).await;
        }
    }

    /// Tells those who answer what the replicator knows.
    pub(crate) fn publish(&self, deadline: Boottime, applied: Revision) {
        self.process.deadline.set(deadline);
        if self.process.applied.replace(applied) != applied {
            for task in self.process.waiting.take() {
                self.world.scheduler.wake(task);
            }
        }
        self.world.probe(&self.process);
    }

    /// Waits until the revision is applied here.
    pub(crate) async fn applied(&self, revision: Revision) {
        std::future::poll_fn(|_| {
            if self.process.applied.get() >= revision {
                return std::task::Poll::Ready(());
            }
            self.process.waiting.borrow_mut().push(self.world.scheduler.current());
            std::task::Poll::Pending
        })
        .await;
    }

    /// Verify, as [`ReplicaState::find`](key_authority_replica::ReplicaState::find) does it: the deadline, the clock, the index, in this
    /// order, and anything may come in between.
    pub(crate) async fn verify(&self, key: Key) -> Verdict {
        let deadline = self.process.deadline.get();
        self.step().await;
        if !self.process.may_answer(&self.world, deadline) {
            return Verdict::Unavailable;
        }
        self.stall().await;
        let verdict = if self.process.index.get() & only(key) == 0 { Verdict::Accepted } else { Verdict::Denied };
        if self.world.chance.happens(10_000) {
            self.world.sleep(self.world.chance.between(0, 300 * MICROSECOND)).await;
        }
        verdict
    }
}

impl Process {
    /// Whether a Verify that loaded `deadline` may go on.
    fn may_answer(&self, world: &World, deadline: Boottime) -> bool {
        let now = self.host.clock.at(world.now());
        let may = may_answer(deadline, now);
        if may {
            world.check.answers(self, world.terms.trust, now);
        }
        may || world.variant == Some(Variant::NoLease)
    }

    /// The keys that a Verify invoked at this very instant would let pass.
    pub(crate) fn accepts_now(&self, world: &World) -> KeySet {
        let is_silent = self.is_paused() || !self.may_answer(world, self.deadline.get());
        if is_silent { 0 } else { !self.index.get() }
    }
}
