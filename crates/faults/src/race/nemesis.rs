//! The nemesis: one fault after another, each healed before the next, with quiet phases between them. What it does comes out of
//! a seed; each kind comes once in a round, in an order of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::World;
use super::phases::Phase;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::cluster::link::State;
use crate::cluster::replica::Replica;
use crate::progress::say;
use crate::trouble::Trouble;

/// The longest that a fault lasts which does not last as long as it is told to.
const FAULT_MAX: Duration = Duration::from_secs(10);
/// The shortest fault.
const FAULT_MIN: Duration = Duration::from_millis(100);
/// How much longer than the lease a long one lasts at least: a token that is revoked meanwhile must be refused for that long.
const BEYOND: Duration = Duration::from_secs(1);
/// How long it is quiet.
const QUIET: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));

/// What is done next.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// A replica is stopped for less than it trusts its last heartbeat.
    ShortFreeze,
    /// A replica is stopped for longer than anybody waits for it.
    LongFreeze,
    /// The link of a replica is silent for longer than that.
    LongSilence,
    Of(Phase),
}

const FAULTS: [Fault; 10] = [
    Fault::ShortFreeze,
    Fault::LongFreeze,
    Fault::LongSilence,
    Fault::Of(Phase::Kill),
    Fault::Of(Phase::Terminate),
    Fault::Of(Phase::DatabaseCrash),
    Fault::Of(Phase::LinkCut),
    Fault::Of(Phase::LinkSilent),
    Fault::Of(Phase::LinkSlow),
    Fault::Of(Phase::LinkLossy),
];

/// The nemesis.
pub(crate) struct Nemesis<'a> {
    pub(crate) world: Arc<World>,
    pub(crate) cluster: &'a mut Cluster,
    pub(crate) chance: Chance,
    /// The longest that a replica is stopped.
    pub(crate) freeze_max: Duration,
}

impl Nemesis<'_> {
    /// Makes faults until there was every kind of them and `is_enough` says so.
    pub(crate) async fn run(mut self, is_enough: impl Fn() -> bool) -> Result<(), Trouble> {
        for round in 1.. {
            let mut faults = FAULTS;
            self.chance.shuffle(&mut faults);
            for fault in faults {
                self.quiet().await;
                if round > 1 && is_enough() {
                    return Ok(());
                }
                self.make(fault).await?;
                self.cluster.until_at_rest().await?;
                self.begin(Phase::Quiet);
            }
            if is_enough() {
                break;
            }
        }
        Ok(())
    }

    async fn quiet(&mut self) {
        sleep(self.chance.between(QUIET.0, QUIET.1)).await;
    }

    async fn make(&mut self, fault: Fault) -> Result<(), Trouble> {
        // Mostly one replica; sometimes another one too, so that a majority is away.
        let mut victims: Vec<usize> = (0..self.cluster.replicas.len()).collect();
        self.chance.shuffle(&mut victims);
        victims.truncate(if self.chance.percent(25) { 2 } else { 1 });
        let lease = self.cluster.plan.lease;
        let short = self.chance.magnitude(FAULT_MIN, FAULT_MAX.min(self.freeze_max));
        match fault {
            Fault::ShortFreeze => {
                let pause = self.chance.magnitude(FAULT_MIN, lease * 4 / 5);
                self.freeze(&victims, pause).await
            }
            Fault::LongFreeze => {
                let pause = self.chance.magnitude(lease + BEYOND, self.freeze_max);
                self.freeze(&victims, pause).await
            }
            Fault::LongSilence => {
                let pause = self.chance.magnitude(lease + BEYOND, FAULT_MAX);
                self.disturb(Phase::LinkSilent, State::Silent, &victims, pause).await
            }
            Fault::Of(phase) => match phase {
                Phase::Kill | Phase::Terminate => self.end(phase, &victims, short).await,
                Phase::DatabaseCrash => self.crash_database(short).await,
                Phase::LinkSilent => self.disturb(phase, State::Silent, &victims, short).await,
                Phase::LinkCut => self.disturb(phase, State::Cut, &victims, short).await,
                Phase::LinkSlow => self.disturb(phase, State::Slow, &victims, short.max(lease / 2)).await,
                Phase::LinkLossy => self.disturb(phase, State::Lossy, &victims, short.max(lease / 2)).await,
                Phase::Quiet | Phase::Freeze => Ok(()),
            },
        }
    }

    async fn freeze(&mut self, victims: &[usize], pause: Duration) -> Result<(), Trouble> {
        self.tell(Phase::Freeze, victims, pause);
        self.begin(Phase::Freeze);
        for index in victims {
            self.replica(*index)?.freeze()?;
        }
        self.hold(pause).await;
        for index in victims {
            self.replica(*index)?.thaw()?;
        }
        Ok(())
    }

    async fn end(&mut self, phase: Phase, victims: &[usize], pause: Duration) -> Result<(), Trouble> {
        self.tell(phase, victims, pause);
        self.begin(phase);
        for index in victims {
            let replica = self.cluster.replicas.get_mut(*index).ok_or("there is no such replica")?;
            if phase == Phase::Kill { replica.kill().await? } else { replica.terminate().await? }
        }
        self.hold(pause).await;
        for index in victims {
            self.cluster.start_replica(*index).await?;
        }
        Ok(())
    }

    async fn crash_database(&mut self, pause: Duration) -> Result<(), Trouble> {
        self.tell(Phase::DatabaseCrash, &[], pause);
        self.begin(Phase::DatabaseCrash);
        self.cluster.database.crash().await?;
        self.hold(pause).await;
        self.cluster.database.resume().await
    }

    async fn disturb(&mut self, phase: Phase, state: State, victims: &[usize], pause: Duration) -> Result<(), Trouble> {
        self.tell(phase, victims, pause);
        self.begin(phase);
        for index in victims {
            self.replica(*index)?.set_link(state);
        }
        self.hold(pause).await;
        for index in victims {
            self.replica(*index)?.set_link(State::Open);
        }
        Ok(())
    }

    /// Lets a fault last. The moments at which it begins and ends are those at which a revocation is most likely to hurt.
    async fn hold(&mut self, pause: Duration) {
        self.world.revoked.wanted.notify_one();
        let before_end = Duration::from_millis(60);
        sleep(pause.saturating_sub(before_end)).await;
        self.world.revoked.wanted.notify_one();
        sleep(before_end.min(pause)).await;
    }

    fn begin(&self, phase: Phase) {
        self.world.history.phases.begin(phase);
    }

    fn replica(&self, index: usize) -> Result<&Replica, Trouble> {
        self.cluster.replicas.get(index).ok_or_else(|| "there is no such replica".into())
    }

    fn tell(&self, phase: Phase, victims: &[usize], pause: Duration) {
        let numbers: Vec<String> = victims.iter().map(|index| (index + 1).to_string()).collect();
        let whom = if numbers.is_empty() { String::new() } else { format!(" at replica {}", numbers.join(" and ")) };
        let at = crate::clock::seconds(self.world.history.clock.now());
        say!("{at:8.1} s: {}{whom} for {:.1} s; {}", phase.name(), pause.as_secs_f64(), self.world.standing());
    }
}
