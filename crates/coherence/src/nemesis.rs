//! What breaks the world: one task for each kind of fault, all of which end in time.

use std::rc::Rc;

use crate::chance::Ppm;
use crate::process::Host;
use crate::scheduler::{MILLISECOND, SECOND, Time};
use crate::world::{ROUGH, World};

/// Lets the faults loose that the profile names.
pub(crate) fn start(world: &Rc<World>) {
    let profile = &world.profile;
    for host in &world.hosts {
        spawn(world, profile.pauses, host, pause);
        spawn(world, profile.kills, host, kill);
        spawn(world, profile.leaves, host, leave);
        spawn(world, profile.cuts, host, cut);
    }
    // The database is no host; whichever stands here is not looked at.
    if let Some(host) = world.hosts.first() {
        spawn(world, profile.outages, host, outage);
        spawn(world, profile.freezes, host, freeze);
        spawn(world, profile.read_only, host, read_only);
    }
}

impl World {
    /// Whether there are faults at this time.
    pub(crate) fn is_rough(&self) -> bool {
        self.now() < ROUGH
    }

    /// A fault of this length, or shorter: every fault is over when the rough time is.
    pub(crate) fn fault(&self, length: Time) -> Time {
        length.min(ROUGH.saturating_sub(self.now()))
    }

    /// Whether something that is so likely happens to this host now. To a host that is not frail it seldom does, so that
    /// there is somebody to look on while others are late.
    pub(crate) fn befalls(&self, host: &Host, likely: Ppm) -> bool {
        self.is_rough() && self.chance.happens(if host.is_frail { likely } else { likely / 10 })
    }

    /// By how much something is late: by anything, by a good part of a lease, or by so much that it comes back when a lease
    /// is about to end.
    pub(crate) fn delay(&self) -> Time {
        let length = if self.chance.happens(self.profile.very_late) {
            self.chance.between(7_500 * MILLISECOND, 9_500 * MILLISECOND)
        } else if self.chance.happens(300_000) {
            self.chance.between(SECOND, 7 * SECOND)
        } else {
            self.chance.of_any_scale(20, 34)
        };
        self.fault(length)
    }

    /// How long a fault lasts: anything, or about as long as a lease, where it hurts.
    pub(crate) fn fault_length(&self) -> Time {
        let length = if self.chance.happens(500_000) {
            self.chance.of_any_scale(20, 34)
        } else {
            self.chance.between(3 * SECOND, 14 * SECOND)
        };
        self.fault(length)
    }
}

/// Inflicts a fault on a host again and again, at random times.
fn spawn<F>(world: &Rc<World>, every: Time, host: &Rc<Host>, inflict: fn(Rc<World>, Rc<Host>) -> F)
where
    F: Future<Output = ()> + 'static,
{
    if every == 0 {
        return;
    }
    let (shared, host) = (Rc::clone(world), Rc::clone(host));
    world.scheduler.spawn(None, async move {
        // A fault comes every so often in the whole world, however many hosts there are.
        let every = 2 * every * shared.hosts.len() as u64;
        loop {
            shared.sleep(shared.chance.below(every)).await;
            if !shared.is_rough() {
                break;
            }
            inflict(Rc::clone(&shared), Rc::clone(&host)).await;
        }
    });
}

async fn pause(world: Rc<World>, host: Rc<Host>) {
    let length = world.fault_length();
    if let Some(process) = host.process() {
        process.pause(&world, length);
        world.sleep(length).await;
    }
}

async fn kill(world: Rc<World>, host: Rc<Host>) {
    if host.process().is_none() {
        return;
    }
    host.kill(&world);
    world.statistics.borrow_mut().kills += 1;
    world.sleep(world.fault_length()).await;
    if host.process().is_none() {
        host.start(&world);
    }
}

async fn leave(world: Rc<World>, host: Rc<Host>) {
    let Some(process) = host.process() else { return };
    world.note(|| format!("{host} is told to leave"));
    process.is_leaving.set(true);
    process.wake(&world);
    world.statistics.borrow_mut().leaves += 1;
    // A process that does not come to an end is ended.
    let limit = world.now() + 10 * SECOND;
    while !process.has_left.get() && world.now() < limit && world.is_rough() {
        world.sleep(10 * MILLISECOND).await;
    }
    // Calls in flight go on for a while, without the replicator.
    world.sleep(world.fault(world.chance.of_any_scale(20, 31))).await;
    if host.process().is_some_and(|current| Rc::ptr_eq(&current, &process)) {
        host.kill(&world);
        world.sleep(world.fault(world.chance.of_any_scale(20, 30))).await;
        if host.process().is_none() {
            host.start(&world);
        }
    }
}

async fn cut(world: Rc<World>, host: Rc<Host>) {
    let length = world.fault_length();
    world.note(|| format!("the link of {host} is cut for {} ms", length / 1_000_000));
    world.statistics.borrow_mut().cuts += 1;
    host.cut_until.set(world.now() + length);
    world.sleep(length).await;
}

async fn outage(world: Rc<World>, _: Rc<Host>) {
    let length = world.fault_length();
    world.note(|| format!("the database is down for {} ms", length / 1_000_000));
    world.statistics.borrow_mut().outages += 1;
    world.down_until.set(world.now() + length);
    world.epoch.set(world.epoch.get() + 1);
    world.database.borrow_mut().restart();
    world.sleep(length).await;
}

async fn freeze(world: Rc<World>, _: Rc<Host>) {
    let length = world.fault(world.chance.of_any_scale(24, 34));
    world.note(|| format!("the database stands still for {} ms", length / 1_000_000));
    world.statistics.borrow_mut().outages += 1;
    world.frozen_until.set(world.now() + length);
    world.sleep(length).await;
}

async fn read_only(world: Rc<World>, _: Rc<Host>) {
    let length = world.fault_length();
    world.note(|| format!("the database writes nothing for {} ms", length / 1_000_000));
    world.statistics.borrow_mut().read_only += 1;
    world.read_only_until.set(world.now() + length);
    world.sleep(length).await;
}
