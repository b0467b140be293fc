//! The nemesis: one task for each kind of fault. All faults end with the fault phase.

use std::rc::Rc;

use crate::process::Host;
use crate::rng::Ppm;
use crate::scheduler::{MILLISECOND, SECOND, Time};
use crate::world::{FAULT_PHASE, World};

/// Starts the faults of the profile.
pub(crate) fn start(world: &Rc<World>) {
    let profile = &world.profile;
    for host in &world.hosts {
        spawn(world, profile.pauses, host, pause);
        spawn(world, profile.kills, host, kill);
        spawn(world, profile.leaves, host, leave);
        spawn(world, profile.cuts, host, cut);
    }
    // Faults of the database ignore their host.
    if let Some(host) = world.hosts.first() {
        spawn(world, profile.outages, host, outage);
        spawn(world, profile.freezes, host, freeze);
        spawn(world, profile.read_only, host, read_only);
    }
}

impl World {
    /// Whether the run is in its fault phase.
    pub(crate) fn has_faults(&self) -> bool {
        self.now() < FAULT_PHASE
    }

    /// `length`, limited to the rest of the fault phase.
    pub(crate) fn fault(&self, length: Time) -> Time {
        length.min(FAULT_PHASE.saturating_sub(self.now()))
    }

    /// True with this probability, and with a tenth of it for a host that is not frail, so that some replicas stay
    /// healthy while others are late.
    pub(crate) fn befalls(&self, host: &Host, probability: Ppm) -> bool {
        self.has_faults() && self.rng.happens(if host.is_frail { probability } else { probability / 10 })
    }

    /// A random delay: of any scale, of a large part of a lease, or so long that it ends when a lease is about to
    /// expire.
    pub(crate) fn delay(&self) -> Time {
        let length = if self.rng.happens(self.profile.very_late) {
            self.rng.between(7_500 * MILLISECOND, 9_500 * MILLISECOND)
        } else if self.rng.happens(300_000) {
            self.rng.between(SECOND, 7 * SECOND)
        } else {
            self.rng.of_any_scale(20, 34)
        };
        self.fault(length)
    }

    /// The length of a fault: of any scale, or about as long as a lease, where it is most dangerous.
    pub(crate) fn fault_length(&self) -> Time {
        let length = if self.rng.happens(500_000) {
            self.rng.of_any_scale(20, 34)
        } else {
            self.rng.between(3 * SECOND, 14 * SECOND)
        };
        self.fault(length)
    }
}

/// Injects a fault into a host repeatedly, at random times.
fn spawn<F>(world: &Rc<World>, every: Time, host: &Rc<Host>, inject: fn(Rc<World>, Rc<Host>) -> F)
where
    F: Future<Output = ()> + 'static,
{
    if every == 0 {
        return;
    }
    let (shared, host) = (Rc::clone(world), Rc::clone(host));
    world.scheduler.spawn(None, async move {
        // The rate is that of the whole cluster, independent of its size.
        let every = 2 * every * shared.hosts.len() as u64;
        loop {
            shared.sleep(shared.rng.below(every)).await;
            if !shared.has_faults() {
                break;
            }
            inject(Rc::clone(&shared), Rc::clone(&host)).await;
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
    world.note(|| format!("{host} starts to leave"));
    process.is_leaving.set(true);
    process.wake(&world);
    world.statistics.borrow_mut().leaves += 1;
    // A process that does not leave in time is killed.
    let limit = world.now() + 10 * SECOND;
    while !process.has_left.get() && world.now() < limit && world.has_faults() {
        world.sleep(10 * MILLISECOND).await;
    }
    // Calls in flight continue for a while, without the replicator.
    world.sleep(world.fault(world.rng.of_any_scale(20, 31))).await;
    if host.process().is_some_and(|current| Rc::ptr_eq(&current, &process)) {
        host.kill(&world);
        world.sleep(world.fault(world.rng.of_any_scale(20, 30))).await;
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
    let length = world.fault(world.rng.of_any_scale(24, 34));
    world.note(|| format!("the database is frozen for {} ms", length / 1_000_000));
    world.statistics.borrow_mut().outages += 1;
    world.frozen_until.set(world.now() + length);
    world.sleep(length).await;
}

async fn read_only(world: Rc<World>, _: Rc<Host>) {
    let length = world.fault_length();
    world.note(|| format!("the database is read-only for {} ms", length / 1_000_000));
    world.statistics.borrow_mut().read_only += 1;
    world.read_only_until.set(world.now() + length);
    world.sleep(length).await;
}
