//! The way to the database and back. Each direction takes its time; a statement can be lost, or its answer, and the one who
//! asked cannot tell which. What is late arrives all the same, and takes effect.

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

/// No answer came, or none that helps. What was asked may have been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

/// The name of a session with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session(pub(crate) u64);

/// A statement that is under way, seen from the one who waits for its answer.
pub(crate) struct Asked {
    pub(crate) session: Session,
    task: TaskId,
    host: Rc<Host>,
    answer: Cell<Option<Result<Answer, Lost>>>,
}

/// A connection to the database. When it fails it is replaced; when it is dropped its transaction ends, once the database
/// hears of it.
pub(crate) struct Connection {
    world: Rc<World>,
    host: Rc<Host>,
    session: Session,
    /// The database's start at which the session was opened.
    epoch: Option<u64>,
    /// When the last statement arrives: what is sent later overtakes nothing.
    arrives: Time,
}

impl Connection {
    pub(crate) fn open(world: &Rc<World>, host: &Rc<Host>) -> Self {
        let session = world.new_session();
        Self { world: Rc::clone(world), host: Rc::clone(host), session, epoch: None, arrives: 0 }
    }

    async fn ask(&mut self, statement: Statement) -> Result<Answer, Lost> {
        let world = Rc::clone(&self.world);
        let epoch = *self.epoch.get_or_insert(world.epoch.get());
        let task = world.scheduler.current();
        world.note(|| format!("{} asks {statement:?}", self.host));
        let asked =
            Rc::new(Asked { session: self.session, task, host: Rc::clone(&self.host), answer: Cell::new(None) });
        match world.way(&self.host) {
            Some(mut takes) => {
                let (chance, profile) = (&world.chance, &world.profile);
                let is_late = match statement {
                    Statement::Fence { .. } => chance.happens(profile.late_fence),
                    Statement::Replicas => chance.happens(profile.late_scan),
                    _ => false,
                };
                takes += if is_late { world.delay() } else { 0 };
                self.arrives = self.arrives.max(world.now() + takes);
                let asked = Rc::clone(&asked);
                world.scheduler.plan(self.arrives, move |world| arrive(world, asked, statement, epoch));
            }
            None => fail_perhaps(&world, &asked),
        }
        let answered = std::future::poll_fn(|_| match asked.answer.take() {
            Some(answer) => std::task::Poll::Ready(answer),
            None => std::task::Poll::Pending,
        });
        let answer = world.until(world.now() + world.profile.statement_timeout, answered).await;
        match answer {
            Some(Ok(answer)) => Ok(answer),
            failed => {
                world.note(|| format!("{} {}", self.host, if failed.is_none() { "timed out" } else { "failed" }));
                self.hang_up();
                (self.session, self.epoch, self.arrives) = (world.new_session(), None, 0);
                Err(Lost)
            }
        }
    }

    /// The database hears of it after what was sent before. Over a link that is cut it hears of it late.
    fn hang_up(&self) {
        let (world, session) = (&self.world, self.session);
        if self.epoch.is_some() {
            let takes = world.way(&self.host).unwrap_or_else(|| world.fault(world.chance.of_any_scale(23, 33)));
            world.scheduler.plan(self.arrives.max(world.now() + takes), move |world| end_session(world, session));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.hang_up();
    }
}

/// The end of a session reaches the database, behind all that the session has asked.
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
fn arrive(world: &Rc<World>, asked: Rc<Asked>, statement: Statement, epoch: u64) {
    let now = world.now();
    if now < world.frozen_until.get() {
        world.scheduler.plan(world.frozen_until.get(), move |world| arrive(world, asked, statement, epoch));
        return;
    }
    if now < world.down_until.get() || epoch != world.epoch.get() {
        fail_perhaps(world, &asked);
        return;
    }
    world.note(|| format!("  database: {} {statement:?}", asked.host));
    if now < world.read_only_until.get() && statement.writes() {
        reply(world, (asked, Answer::Refused));
        return;
    }
    let as_of = now.saturating_sub(asked.host.lag);
    let answered = world.database.borrow_mut().execute(&asked, statement, as_of, now);
    for answered in answered {
        reply(world, answered);
    }
}

/// An answer sets out.
fn reply(world: &Rc<World>, (asked, answer): Answered) {
    if matches!(answer, Answer::Committed) {
        world.announce();
    }
    match world.way(&asked.host) {
        Some(takes) => world.scheduler.plan(world.now() + takes, move |world| {
            asked.answer.set(Some(Ok(answer)));
            world.scheduler.wake(asked.task);
        }),
        None => fail_perhaps(world, &asked),
    }
}

/// What was lost is noticed soon, or not before the time is up.
fn fail_perhaps(world: &Rc<World>, asked: &Rc<Asked>) {
    if world.chance.happens(500_000) {
        let asked = Rc::clone(asked);
        world.scheduler.plan(world.now() + world.chance.between(MICROSECOND, 20 * MILLISECOND), move |world| {
            asked.answer.set(Some(Err(Lost)));
            world.scheduler.wake(asked.task);
        });
    }
}

impl World {
    /// How long it takes from a host to the database or back; none when it is lost.
    fn way(&self, host: &Host) -> Option<Time> {
        let (chance, profile) = (&self.chance, &self.profile);
        let ordinary = chance.between(profile.way / 8 + 1, profile.way + 2);
        if !self.is_rough() {
            return Some(ordinary);
        }
        if self.befalls(host, profile.lost) {
            return None;
        }
        let cut = host.cut_until.get().saturating_sub(self.now());
        if cut > 0 && chance.happens(500_000) {
            return None;
        }
        let slow = if self.befalls(host, profile.slow) { self.delay() } else { 0 };
        Some(ordinary + cut.max(slow))
    }

    /// Tells the replicas of a commit. That it can be lost costs time and nothing else.
    fn announce(self: &Rc<Self>) {
        for host in &self.hosts {
            let Some(process) = host.process() else { continue };
            if self.chance.happens(self.profile.unheard) {
                continue;
            }
            let Some(takes) = self.way(host) else { continue };
            self.scheduler.plan(self.now() + takes.min(SECOND), move |world| process.wake(world));
        }
    }
}

/// The statements, each with the answer it gets.
impl Connection {
    pub(crate) async fn join(&mut self, id: ReplicaId, nonce: Nonce) -> Result<(), Lost> {
        self.ask(Statement::Join { id, nonce }).await.map(|_| ())
    }

    pub(crate) async fn snapshot(&mut self) -> Result<(Head, KeySet), Lost> {
        let Answer::Snapshot { head, revoked } = self.ask(Statement::Snapshot).await? else { return Err(Lost) };
        Ok((head, revoked))
    }

    pub(crate) async fn feed(&mut self, from: Revision) -> Result<Feed, Lost> {
        let limit = self.world.profile.feed_limit;
        let Answer::Feed(feed) = self.ask(Statement::Feed { from, limit }).await? else { return Err(Lost) };
        Ok(feed)
    }

    pub(crate) async fn rows(&mut self, keys: KeySet) -> Result<KeySet, Lost> {
        let Answer::Revoked(revoked) = self.ask(Statement::Rows(keys)).await? else { return Err(Lost) };
        Ok(revoked)
    }

    pub(crate) async fn confirm(&mut self, id: ReplicaId, applied: Revision, nonce: Nonce) -> Result<bool, Lost> {
        let Answer::Found(found) = self.ask(Statement::Confirm { id, applied, nonce }).await? else { return Err(Lost) };
        Ok(found)
    }

    pub(crate) async fn leave(&mut self, id: ReplicaId) -> Result<(), Lost> {
        self.ask(Statement::Leave(id)).await.map(|_| ())
    }

    pub(crate) async fn replicas(&mut self) -> Result<Vec<ReplicaRow>, Lost> {
        let Answer::Replicas(rows) = self.ask(Statement::Replicas).await? else { return Err(Lost) };
        Ok(rows)
    }

    pub(crate) async fn fence(&mut self, id: ReplicaId, nonce: Option<Nonce>) -> Result<bool, Lost> {
        let Answer::Found(removed) = self.ask(Statement::Fence { id, nonce }).await? else { return Err(Lost) };
        Ok(removed)
    }

    pub(crate) async fn begin(&mut self, change: Change) -> Result<Begun, Lost> {
        let Answer::Begun(begun) = self.ask(Statement::Begin(change)).await? else { return Err(Lost) };
        Ok(begun)
    }

    pub(crate) async fn commit(&mut self, revision: Revision, change: Change) -> Result<(), Lost> {
        let Answer::Committed = self.ask(Statement::Commit { revision, change }).await? else { return Err(Lost) };
        Ok(())
    }

    pub(crate) async fn event_at(&mut self, revision: Revision) -> Result<Option<RequestId>, Lost> {
        let Answer::Event(request) = self.ask(Statement::EventAt(revision)).await? else { return Err(Lost) };
        Ok(request)
    }

    pub(crate) async fn rollback(&mut self) -> Result<(), Lost> {
        self.ask(Statement::Rollback).await.map(|_| ())
    }
}
