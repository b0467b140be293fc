//! Those who call: clients that change things, and do not give up until they know that it is done, and clients that verify.

use std::cell::Cell;
use std::rc::Rc;

use key_authority_replica::protocol::wait::PropagationState;

use crate::mutation::{Returned, Wish};
use crate::network::Lost;
use crate::process::{Process, Server, Verdict};
use crate::scheduler::{MICROSECOND, MILLISECOND, SECOND, TaskId, Time};
use crate::statement::{Change, Key};
use crate::world::World;

/// How many keys the changes of the rough time may use; the last is kept for the end.
pub(crate) const KEYS: Key = 63;

/// A call that waits for its answer. Dropped without one, it tells its caller that there will be none.
struct Call {
    world: Rc<World>,
    caller: TaskId,
    answer: Rc<Cell<Option<Result<Returned, Lost>>>>,
}

impl Drop for Call {
    fn drop(&mut self) {
        let answer = self.answer.take().unwrap_or(Err(Lost));
        self.answer.set(Some(answer));
        self.world.scheduler.wake(self.caller);
    }
}

/// A client that makes changes, one after the other, until the rough time ends.
pub(crate) async fn change(world: Rc<World>) {
    while world.is_rough() {
        world.sleep(world.chance.below(world.profile.think)).await;
        let Some(change) = next_change(&world) else { return };
        world.check.ask(change);
        let patience = world.chance.between(100 * MILLISECOND, world.profile.patience);
        // Some give up for good, whatever became of it.
        let attempts = world.chance.one_of(&[1, 3, 30, 30]);
        for _ in 0..attempts {
            if call(&world, Wish::Make(change), patience).await.is_ok() {
                break;
            }
            world.statistics.borrow_mut().unanswered += 1;
            world.sleep(world.chance.of_any_scale(20, 30)).await;
            if !world.is_rough() {
                break;
            }
        }
        if world.chance.happens(100_000) {
            let end = world.database.borrow().end();
            let _ = call(&world, Wish::Await(end), 12 * SECOND).await;
        }
    }
}

/// What a client wants next: mostly to revoke a key that nobody has touched, at times one that somebody has.
fn next_change(world: &World) -> Option<Change> {
    let request = world.new_request();
    if !world.chance.happens(world.profile.revocations) {
        return Some(Change { request, key: None });
    }
    let used = world.keys_used.get();
    let key = if used > 0 && world.chance.happens(150_000) {
        u32::try_from(world.chance.below(u64::from(used))).ok()?
    } else {
        if used >= KEYS {
            return Some(Change { request, key: None });
        }
        world.keys_used.set(used + 1);
        used
    };
    Some(Change { request, key: Some(key) })
}

/// Calls a server, whichever, and waits until it answers or the patience ends. Then the server drops the call, as far as it
/// has come.
pub(crate) async fn call(world: &Rc<World>, wish: Wish, patience: Time) -> Result<Returned, Lost> {
    let process = reach(world).await.ok_or(Lost)?;
    let answer = Rc::new(Cell::new(None));
    let call = Call { world: Rc::clone(world), caller: world.scheduler.current(), answer: Rc::clone(&answer) };
    let server = Server { world: Rc::clone(world), process: Rc::clone(&process) };
    let end = world.now() + patience;
    world.note(|| format!("{} is asked for {wish:?}", process.host));
    world.scheduler.spawn(Some(process), async move {
        let outcome = server.world.until(end, server.serve(wish)).await.unwrap_or(Err(Lost));
        // On its way back it may be lost as well.
        let is_lost = server.world.is_rough() && server.world.chance.happens(server.world.profile.lost);
        call.answer.set(Some(if is_lost { Err(Lost) } else { outcome }));
    });
    let answered = std::future::poll_fn(|_| match answer.take() {
        Some(answer) => std::task::Poll::Ready(answer),
        None => std::task::Poll::Pending,
    });
    world.until(end, answered).await.unwrap_or(Err(Lost))
}

/// The way to a server that is there.
async fn reach(world: &Rc<World>) -> Option<Rc<Process>> {
    let at = world.chance.below(world.hosts.len() as u64);
    let host = world.hosts.get(usize::try_from(at).ok()?)?;
    world.sleep(world.chance.between(10 * MICROSECOND, MILLISECOND)).await;
    host.process()
}

/// A client that verifies all the time.
pub(crate) async fn verify(world: Rc<World>) {
    while world.is_rough() {
        world.sleep(world.chance.below(world.profile.verify)).await;
        let used = world.keys_used.get();
        // The newest keys are those about which something happens.
        let back = world.chance.below(u64::from(used.max(1)));
        let back = if world.chance.happens(700_000) { back.min(world.chance.below(3)) } else { back };
        let key = used.saturating_sub(1).saturating_sub(u32::try_from(back).unwrap_or(0));
        let over = world.check.over();
        let Some(process) = reach(&world).await.filter(|process| !process.is_leaving.get()) else { continue };
        let server = Server { world: Rc::clone(&world), process: Rc::clone(&process) };
        world.scheduler.spawn(Some(process), async move {
            let was_racing = server.world.check.is_racing(key);
            let verdict = server.verify(key).await;
            let is_racing = was_racing || server.world.check.is_racing(key);
            server.count(verdict, is_racing);
            if verdict == Verdict::Accepted {
                server.world.check.accepted(&server.process.host, crate::statement::only(key), over);
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
    /// A change has returned, at this very instant: what it promises is checked from now on.
    pub(crate) fn returned(&self, process: &Process, wish: Wish, returned: Returned) {
        self.note(|| format!("{} returns {returned:?} for {wish:?}", process.host));
        if let Wish::Make(change) = wish {
            self.check.committed(returned.revision, change);
        }
        let mut statistics = self.statistics.borrow_mut();
        match returned.state {
            PropagationState::Confirmed => statistics.confirmed += 1,
            PropagationState::Lapsed => statistics.lapsed += 1,
        }
        drop(statistics);
        self.scheduler.mix(u64::from_ne_bytes(returned.revision.0.to_ne_bytes()));
        let keys = self.database.borrow().revoked_by(returned.revision);
        self.check.end(keys);
        for host in &self.hosts {
            if let Some(process) = host.process() {
                self.probe(&process);
            }
        }
    }

    /// Verifies, at this very instant and all at once, every key whose revocation is over.
    ///
    /// What a replica says changes when its index or its lease does, and what it must say when a change returns: asked at
    /// each of these instants, no Verify that could have been invoked in between is missed.
    pub(crate) fn probe(&self, process: &Process) {
        self.check.accepted(&process.host, process.accepts_now(self), self.check.over());
    }
}
