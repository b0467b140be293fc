//! The network between replicas and database. Each direction has a delay. A statement or its answer can be lost, and
//! the sender cannot distinguish the two. A delayed statement still arrives, and then takes effect.

use std::cell::Cell;
use std::rc::Rc;

use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_storage::feed::Feed;
use key_authority_storage::registry::{Nonce, ReplicaRow};
use key_authority_storage::settings::Head;

use crate::database::Answered;
use crate::process::Host;
use crate::scheduler::{MICROSECOND, MILLISECOND, SECOND, TaskId, Time};
use crate::statement::{Answer, Begun, Change, KeySet, RequestId, Statement};
use crate::world::World;

/// No usable answer arrived. The statement or call may have taken effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionLost;

/// The ID of a database session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session(pub(crate) u64);

/// A statement in flight, whose sender waits for the answer.
pub(crate) struct InFlight {
    pub(crate) session: Session,
    task: TaskId,
    host: Rc<Host>,
    answer: Cell<Option<Result<Answer, ConnectionLost>>>,
}

/// A connection to the database. After a failure it gets a new session. After it is dropped its transaction ends as
/// soon as the database receives that.
pub(crate) struct Connection {
    world: Rc<World>,
    host: Rc<Host>,
    session: Session,
    /// The start of the database in which the session was opened.
    epoch: Option<u64>,
    /// When the last statement arrives. Later ones arrive later, as on a TCP connection.
    arrives: Time,
}

impl Connection {
    pub(crate) fn open(world: &Rc<World>, host: &Rc<Host>) -> Self {
        let session = world.new_session();
        Self { world: Rc::clone(world), host: Rc::clone(host), session, epoch: None, arrives: 0 }
    }

    async fn execute(&mut self, statement: Statement) -> Result<Answer, ConnectionLost> {
        let world = Rc::clone(&self.world);
        let epoch = *self.epoch.get_or_insert(world.epoch.get());
        let task = world.scheduler.current();
        world.note(|| format!("{} sends {statement:?}", self.host));
        let in_flight =
            Rc::new(InFlight { session: self.session, task, host: Rc::clone(&self.host), answer: Cell::new(None) });
        match world.transit(&self.host) {
            Some(mut delay) => {
                let (rng, profile) = (&world.rng, &world.profile);
                let is_late = match statement {
                    Statement::Fence { .. } => rng.happens(profile.late_fence),
                    Statement::Replicas => rng.happens(profile.late_scan),
                    _ => false,
                };
                delay += if is_late { world.delay() } else { 0 };
                self.arrives = self.arrives.max(world.now() + delay);
                let in_flight = Rc::clone(&in_flight);
                world.scheduler.plan(self.arrives, move |world| arrive(world, in_flight, statement, epoch));
            }
            None => maybe_report_loss(&world, &in_flight),
        }
        let answered = std::future::poll_fn(|_| match in_flight.answer.take() {
            Some(answer) => std::task::Poll::Ready(answer),
            None => std::task::Poll::Pending,
        });
        let answer = world.until(world.now() + world.profile.statement_timeout, answered).await;
        match answer {
            Some(Ok(answer)) => Ok(answer),
            failed => {
                world.note(|| format!("{} {}", self.host, if failed.is_none() { "timed out" } else { "failed" }));
                self.close_session();
                (self.session, self.epoch, self.arrives) = (world.new_session(), None, 0);
                Err(ConnectionLost)
            }
        }
    }

    /// The database receives the end of the session after all statements before it, and late if the link is cut.
    fn close_session(&self) {
        let (world, session) = (&self.world, self.session);
        if self.epoch.is_some() {
            let delay = world.transit(&self.host).unwrap_or_else(|| world.fault(world.rng.of_any_scale(23, 33)));
            world.scheduler.plan(self.arrives.max(world.now() + delay), move |world| end_session(world, session));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close_session();
    }
}

/// The end of a session reaches the database, after the session's statements.
fn end_session(world: &Rc<World>, session: Session) {
    if world.now() <= world.frozen_until.get() {
        world.scheduler.plan(world.frozen_until.get() + 1, move |world| end_session(world, session));
        return;
    }
    let next = world.database.borrow_mut().release(session);
    if let Some(answered) = next {
        reply(world, answered);
    }
}

/// A statement reaches the database.
fn arrive(world: &Rc<World>, in_flight: Rc<InFlight>, statement: Statement, epoch: u64) {
    let now = world.now();
    if now < world.frozen_until.get() {
        world.scheduler.plan(world.frozen_until.get(), move |world| arrive(world, in_flight, statement, epoch));
        return;
    }
    if now < world.down_until.get() || epoch != world.epoch.get() {
        maybe_report_loss(world, &in_flight);
        return;
    }
    world.note(|| format!("  database: {} {statement:?}", in_flight.host));
    if now < world.read_only_until.get() && statement.writes() {
        reply(world, (in_flight, Answer::Refused));
        return;
    }
    let as_of = now.saturating_sub(in_flight.host.lag);
    let answered = world.database.borrow_mut().execute(&in_flight, statement, as_of, now);
    for answered in answered {
        reply(world, answered);
    }
}

/// The database sends an answer.
fn reply(world: &Rc<World>, (in_flight, answer): Answered) {
    if matches!(answer, Answer::Committed) {
        world.notify();
    }
    match world.transit(&in_flight.host) {
        Some(delay) => world.scheduler.plan(world.now() + delay, move |world| {
            in_flight.answer.set(Some(Ok(answer)));
            world.scheduler.wake(in_flight.task);
        }),
        None => maybe_report_loss(world, &in_flight),
    }
}

/// Reports a loss to the sender soon, or leaves it to the timeout.
fn maybe_report_loss(world: &Rc<World>, in_flight: &Rc<InFlight>) {
    if world.rng.happens(500_000) {
        let in_flight = Rc::clone(in_flight);
        world.scheduler.plan(world.now() + world.rng.between(MICROSECOND, 20 * MILLISECOND), move |world| {
            in_flight.answer.set(Some(Err(ConnectionLost)));
            world.scheduler.wake(in_flight.task);
        });
    }
}

impl World {
    /// The delay from a host to the database or back; None if the message is lost.
    fn transit(&self, host: &Host) -> Option<Time> {
        let (rng, profile) = (&self.rng, &self.profile);
        let ordinary = rng.between(profile.transit / 8 + 1, profile.transit + 2);
        if !self.has_faults() {
            return Some(ordinary);
        }
        if self.befalls(host, profile.lost) {
            return None;
        }
        let cut = host.cut_until.get().saturating_sub(self.now());
        if cut > 0 && rng.happens(500_000) {
            return None;
        }
        let slow = if self.befalls(host, profile.slow) { self.delay() } else { 0 };
        Some(ordinary + cut.max(slow))
    }

    /// Notifies the replicas of a commit. A lost notification costs time only.
    fn notify(self: &Rc<Self>) {
        for host in &self.hosts {
            let Some(process) = host.process() else { continue };
            if self.rng.happens(self.profile.notify_lost) {
                continue;
            }
            let Some(delay) = self.transit(host) else { continue };
            self.scheduler.plan(self.now() + delay.min(SECOND), move |world| process.wake(world));
        }
    }
}

/// The statements, each with its answer.
impl Connection {
    pub(crate) async fn join(&mut self, id: ReplicaId, nonce: Nonce) -> Result<(), ConnectionLost> {
        self.execute(Statement::Join { id, nonce }).await.map(|_| ())
    }

    pub(crate) async fn snapshot(&mut self) -> Result<(Head, KeySet), ConnectionLost> {
        let Answer::Snapshot { head, revoked } = self.execute(Statement::Snapshot).await? else {
            return Err(ConnectionLost);
        };
        Ok((head, revoked))
    }

    pub(crate) async fn feed(&mut self, from: Revision) -> Result<Feed, ConnectionLost> {
        let limit = self.world.profile.feed_limit;
        let Answer::Feed(feed) = self.execute(Statement::Feed { from, limit }).await? else {
            return Err(ConnectionLost);
        };
        Ok(feed)
    }

    pub(crate) async fn rows(&mut self, keys: KeySet) -> Result<KeySet, ConnectionLost> {
        let Answer::Revoked(revoked) = self.execute(Statement::Rows(keys)).await? else { return Err(ConnectionLost) };
        Ok(revoked)
    }

    pub(crate) async fn confirm(
        &mut self,
        id: ReplicaId,
        applied: Revision,
        nonce: Nonce,
    ) -> Result<bool, ConnectionLost> {
        let Answer::Found(found) = self.execute(Statement::Confirm { id, applied, nonce }).await? else {
            return Err(ConnectionLost);
        };
        Ok(found)
    }

    pub(crate) async fn leave(&mut self, id: ReplicaId) -> Result<(), ConnectionLost> {
        self.execute(Statement::Leave(id)).await.map(|_| ())
    }

    pub(crate) async fn replicas(&mut self) -> Result<Vec<ReplicaRow>, ConnectionLost> {
        let Answer::Replicas(rows) = self.execute(Statement::Replicas).await? else { return Err(ConnectionLost) };
        Ok(rows)
    }

    pub(crate) async fn fence(&mut self, id: ReplicaId, nonce: Option<Nonce>) -> Result<bool, ConnectionLost> {
        let Answer::Found(removed) = self.execute(Statement::Fence { id, nonce }).await? else {
            return Err(ConnectionLost);
        };
        Ok(removed)
    }

    pub(crate) async fn begin(&mut self, change: Change) -> Result<Begun, ConnectionLost> {
        let Answer::Begun(begun) = self.execute(Statement::Begin(change)).await? else { return Err(ConnectionLost) };
        Ok(begun)
    }

    pub(crate) async fn commit(&mut self, revision: Revision, change: Change) -> Result<(), ConnectionLost> {
        let Answer::Committed = self.execute(Statement::Commit { revision, change }).await? else {
            return Err(ConnectionLost);
        };
        Ok(())
    }

    pub(crate) async fn event_at(&mut self, revision: Revision) -> Result<Option<RequestId>, ConnectionLost> {
        let Answer::Event(request) = self.execute(Statement::EventAt(revision)).await? else {
            return Err(ConnectionLost);
        };
        Ok(request)
    }

    pub(crate) async fn rollback(&mut self) -> Result<(), ConnectionLost> {
        self.execute(Statement::Rollback).await.map(|_| ())
    }
}
