//! Clients: those that make changes and retry them until they are acknowledged, and those that verify.

use std::cell::Cell;
use std::rc::Rc;

use key_authority_replica::protocol::wait::PropagationState;

use crate::mutation::{Ack, Request};
use crate::network::ConnectionLost;
use crate::process::{Process, Server, Verdict};
use crate::scheduler::{MICROSECOND, MILLISECOND, SECOND, TaskId, Time};
use crate::statement::{Change, Key};
use crate::world::World;

/// The number of keys for the fault phase. One more key is reserved for the end.
pub(crate) const KEYS: Key = 63;

/// A call in flight. If it is dropped without an answer, its caller gets [`ConnectionLost`].
struct Call {
    world: Rc<World>,
    caller: TaskId,
    answer: Rc<Cell<Option<Result<Ack, ConnectionLost>>>>,
}

impl Drop for Call {
    fn drop(&mut self) {
        let answer = self.answer.take().unwrap_or(Err(ConnectionLost));
        self.answer.set(Some(answer));
        self.world.scheduler.wake(self.caller);
    }
}

/// A client that makes changes, one after the other, until the fault phase ends.
pub(crate) async fn change(world: Rc<World>) {
    while world.has_faults() {
        world.sleep(world.rng.below(world.profile.think)).await;
        let Some(change) = next_change(&world) else { return };
        world.check.requested(change);
        let patience = world.rng.between(100 * MILLISECOND, world.profile.patience);
        // Some clients give up early and never learn the outcome.
        let attempts = world.rng.one_of(&[1, 3, 30, 30]);
        for _ in 0..attempts {
            if call(&world, Request::Make(change), patience).await.is_ok() {
                break;
            }
            world.statistics.borrow_mut().unanswered += 1;
            world.sleep(world.rng.of_any_scale(20, 30)).await;
            if !world.has_faults() {
                break;
            }
        }
        if world.rng.happens(100_000) {
            let end = world.database.borrow().end();
            let _ = call(&world, Request::Await(end), 12 * SECOND).await;
        }
    }
}

/// The next change of a client: mostly the revocation of an unused key, sometimes of a used one.
fn next_change(world: &World) -> Option<Change> {
    let request = world.new_request();
    if !world.rng.happens(world.profile.revocations) {
        return Some(Change { request, key: None });
    }
    let used = world.keys_used.get();
    let key = if used > 0 && world.rng.happens(150_000) {
        u32::try_from(world.rng.below(u64::from(used))).ok()?
    } else {
        if used >= KEYS {
            return Some(Change { request, key: None });
        }
        world.keys_used.set(used + 1);
        used
    };
    Some(Change { request, key: Some(key) })
}

/// Calls a random server, and waits for the answer until `patience` has passed. Then the server cancels the call at its
/// current step.
pub(crate) async fn call(world: &Rc<World>, request: Request, patience: Time) -> Result<Ack, ConnectionLost> {
    let process = reach(world).await.ok_or(ConnectionLost)?;
    let answer = Rc::new(Cell::new(None));
    let call = Call { world: Rc::clone(world), caller: world.scheduler.current(), answer: Rc::clone(&answer) };
    let server = Server { world: Rc::clone(world), process: Rc::clone(&process) };
    let end = world.now() + patience;
    world.note(|| format!("{} receives {request:?}", process.host));
    world.scheduler.spawn(Some(process), async move {
        let outcome = server.world.until(end, server.serve(request)).await.unwrap_or(Err(ConnectionLost));
        // The answer may be lost, too.
        let is_lost = server.world.has_faults() && server.world.rng.happens(server.world.profile.lost);
        call.answer.set(Some(if is_lost { Err(ConnectionLost) } else { outcome }));
    });
    let answered = std::future::poll_fn(|_| match answer.take() {
        Some(answer) => std::task::Poll::Ready(answer),
        None => std::task::Poll::Pending,
    });
    world.until(end, answered).await.unwrap_or(Err(ConnectionLost))
}

/// Connects to a random server; None if it is down.
async fn reach(world: &Rc<World>) -> Option<Rc<Process>> {
    let at = world.rng.below(world.hosts.len() as u64);
    let host = world.hosts.get(usize::try_from(at).ok()?)?;
    world.sleep(world.rng.between(10 * MICROSECOND, MILLISECOND)).await;
    host.process()
}

/// A client that verifies continuously.
pub(crate) async fn verify(world: Rc<World>) {
    while world.has_faults() {
        world.sleep(world.rng.below(world.profile.verify)).await;
        let used = world.keys_used.get();
        // The newest keys are the ones that change.
        let back = world.rng.below(u64::from(used.max(1)));
        let back = if world.rng.happens(700_000) { back.min(world.rng.below(3)) } else { back };
        let key = used.saturating_sub(1).saturating_sub(u32::try_from(back).unwrap_or(0));
        let returned = world.check.returned();
        let Some(process) = reach(&world).await.filter(|process| !process.is_leaving.get()) else { continue };
        let server = Server { world: Rc::clone(&world), process: Rc::clone(&process) };
        world.scheduler.spawn(Some(process), async move {
            let was_racing = server.world.check.is_racing(key);
            let verdict = server.verify(key).await;
            let is_racing = was_racing || server.world.check.is_racing(key);
            server.count(verdict, is_racing);
            if verdict == Verdict::Accepted {
                server.world.check.accepted(&server.process.host, crate::statement::only(key), returned);
            }
        });
    }
}

impl Server {
    fn count(&self, verdict: Verdict, is_racing: bool) {
        let mut statistics = self.world.statistics.borrow_mut();
        match verdict {
            Verdict::Accepted => statistics.accepted += 1,
            Verdict::Denied => statistics.denied += 1,
            Verdict::Unavailable => statistics.unavailable += 1,
        }
        if is_racing && verdict != Verdict::Unavailable {
            statistics.racing += 1;
            statistics.racing_accepted += u64::from(verdict == Verdict::Accepted);
        }
        self.world.scheduler.mix(statistics.accepted ^ (statistics.denied << 20));
    }
}

impl World {
    /// A change returns at this instant: its promise is checked from now on.
    pub(crate) fn acknowledged(&self, process: &Process, request: Request, ack: Ack) {
        self.note(|| format!("{} returns {ack:?} for {request:?}", process.host));
        if let Request::Make(change) = request {
            self.check.committed(ack.revision, change);
        }
        let mut statistics = self.statistics.borrow_mut();
        match ack.state {
            PropagationState::Confirmed => statistics.confirmed += 1,
            PropagationState::Lapsed => statistics.lapsed += 1,
        }
        drop(statistics);
        self.scheduler.mix(u64::from_ne_bytes(ack.revision.0.to_ne_bytes()));
        let keys = self.database.borrow().revoked_by(ack.revision);
        self.check.add_returned(keys);
        for host in &self.hosts {
            if let Some(process) = host.process() {
                self.probe(&process);
            }
        }
    }

    /// Verifies at this instant every key whose revocation has returned.
    ///
    /// The verdicts of a replica change with its index and its lease only, and the required verdicts change when a
    /// change returns. A probe at each of these instants therefore covers every Verify that could start in between.
    pub(crate) fn probe(&self, process: &Process) {
        self.check.accepted(&process.host, process.accepts_now(self), self.check.returned());
    }
}
