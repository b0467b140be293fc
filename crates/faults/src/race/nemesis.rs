//! The nemesis: it injects one fault after another, heals each before the next, and pauses between them. A seed
//! determines its choices. Each round contains every kind of fault once, in random order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use key_authority_testkit::clock::seconds;
use key_authority_testkit::rng::SeededRng;
use key_authority_testkit::say;
use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use tokio::time::sleep;

use super::World;
use super::phases::Phase;
use crate::cluster::Cluster;
use crate::cluster::link::State;
use crate::cluster::replica::Replica;

/// The longest fault, stopped replicas apart.
const FAULT_MAX: Duration = Duration::from_secs(10);
/// The shortest fault.
const FAULT_MIN: Duration = Duration::from_millis(100);
/// How much a long fault exceeds the lease at least, so that a token revoked meanwhile must be denied before it ends.
const BEYOND_LEASE: Duration = Duration::from_secs(1);
/// The shortest and the longest quiet phase.
const QUIET: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));

/// A kind of fault.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Stops a replica for less than it trusts its last heartbeat.
    ShortFreeze,
    /// Stops a replica for longer than a change waits for it.
    LongFreeze,
    /// Silences the link of a replica for longer than a change waits for it.
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

/// Injects faults into a cluster.
pub(crate) struct Nemesis<'a> {
    pub(crate) world: Arc<World>,
    pub(crate) cluster: &'a mut Cluster,
    pub(crate) rng: SeededRng,
    /// The longest time that a replica is stopped.
    pub(crate) freeze_max: Duration,
}

impl Nemesis<'_> {
    /// Injects faults until every kind occurred and `is_enough` returns true.
    pub(crate) async fn run(mut self, is_enough: impl Fn() -> bool) -> Result<()> {
        for round in 1.. {
            let mut faults = FAULTS;
            faults.shuffle(&mut self.rng);
            for fault in faults {
                self.quiet().await;
                if round > 1 && is_enough() {
                    return Ok(());
                }
                self.inject(fault).await?;
                self.cluster.wait_until_stable().await?;
                self.begin(Phase::Quiet);
            }
            if is_enough() {
                break;
            }
        }
        Ok(())
    }

    async fn quiet(&mut self) {
        sleep(self.rng.random_range(QUIET.0..=QUIET.1)).await;
    }

    async fn inject(&mut self, fault: Fault) -> Result<()> {
        // Mostly one replica, sometimes two, so that a majority is down.
        let mut victims: Vec<usize> = (0..self.cluster.replicas.len()).collect();
        victims.shuffle(&mut self.rng);
        victims.truncate(if self.rng.random_ratio(25, 100) { 2 } else { 1 });
        let lease = self.cluster.plan.lease;
        let short = self.rng.magnitude(FAULT_MIN, FAULT_MAX.min(self.freeze_max));
        match fault {
            Fault::ShortFreeze => {
                let pause = self.rng.magnitude(FAULT_MIN, lease * 4 / 5);
                self.freeze(&victims, pause).await
            }
            Fault::LongFreeze => {
                let pause = self.rng.magnitude(lease + BEYOND_LEASE, self.freeze_max);
                self.freeze(&victims, pause).await
            }
            Fault::LongSilence => {
                let pause = self.rng.magnitude(lease + BEYOND_LEASE, FAULT_MAX);
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

    async fn freeze(&mut self, victims: &[usize], pause: Duration) -> Result<()> {
        self.log(Phase::Freeze, victims, pause);
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

    async fn end(&mut self, phase: Phase, victims: &[usize], pause: Duration) -> Result<()> {
        self.log(phase, victims, pause);
        self.begin(phase);
        for index in victims {
            let replica = self.cluster.replicas.get_mut(*index).context("no such replica")?;
            if phase == Phase::Kill { replica.kill().await? } else { replica.terminate().await? }
        }
        self.hold(pause).await;
        for index in victims {
            self.cluster.start_replica(*index).await?;
        }
        Ok(())
    }

    async fn crash_database(&mut self, pause: Duration) -> Result<()> {
        self.log(Phase::DatabaseCrash, &[], pause);
        self.begin(Phase::DatabaseCrash);
        self.cluster.database.crash().await?;
        self.hold(pause).await;
        self.cluster.database.resume().await
    }

    async fn disturb(&mut self, phase: Phase, state: State, victims: &[usize], pause: Duration) -> Result<()> {
        self.log(phase, victims, pause);
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

    /// Waits while a fault lasts, and requests revocations at its start and just before its end, where errors are most
    /// likely.
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

    fn replica(&self, index: usize) -> Result<&Replica> {
        self.cluster.replicas.get(index).context("no such replica")
    }

    fn log(&self, phase: Phase, victims: &[usize], pause: Duration) {
        let numbers: Vec<String> = victims.iter().map(|index| (index + 1).to_string()).collect();
        let place = if numbers.is_empty() { String::new() } else { format!(" at replica {}", numbers.join(" and ")) };
        let at = seconds(self.world.history.clock.now());
        say!("{at:8.1} s: {}{place} for {:.1} s; {}", phase.name(), pause.as_secs_f64(), self.world.progress());
    }
}
