//! A replica that is killed, stopped or terminated: the latency of the next two changes.

use anyhow::Result;
use key_authority_testkit::clock::seconds;
use key_authority_testkit::say;
use serde::Serialize;

use super::Bench;
use super::figure::{Figure, Unit};

/// Trials of each fault; the longest time counts.
const TRIALS: usize = 3;
/// The target for a change beyond the lease, in seconds.
const MARGIN_S: f64 = 0.25;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Fault {
    Killed,
    Stopped,
    Terminated,
}

/// Measures all three.
pub(crate) async fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (fault, name) in [(Fault::Killed, "kill -9"), (Fault::Stopped, "SIGSTOP"), (Fault::Terminated, "SIGTERM")] {
        let (mut before, mut first, mut next) = (0, 0, 0);
        for _ in 0..TRIALS {
            let trial = try_once(bench, fault).await?;
            say!(
                "{name}: {:.3} s before, then {:.3} s, then {:.3} s",
                seconds(trial.0),
                seconds(trial.1),
                seconds(trial.2)
            );
            before = before.max(trial.0);
            first = first.max(trial.1);
            next = next.max(trial.2);
        }
        let lease = bench.cluster.plan.lease.as_secs_f64();
        let first_limit = if fault == Fault::Terminated { MARGIN_S } else { lease + MARGIN_S };
        figures.extend([
            Figure::time(format!("{name} of a replica: the change before it"), before, Unit::Seconds),
            Figure::time(format!("{name} of a replica: the change after it"), first, Unit::Seconds).target(first_limit),
            Figure::time(format!("{name} of a replica: the next change"), next, Unit::Seconds).target(MARGIN_S),
        ]);
    }
    Ok(figures)
}

async fn try_once(bench: &mut Bench, fault: Fault) -> Result<(u64, u64, u64)> {
    let victim = bench.cluster.replicas.len() - 1;
    let before = bench.change(0).await?;
    let replica = bench.replica(victim)?;
    match fault {
        Fault::Killed => replica.kill().await?,
        Fault::Stopped => replica.freeze()?,
        Fault::Terminated => replica.terminate().await?,
    }
    let first = bench.change(0).await?;
    let next = bench.change(1).await?;
    if fault == Fault::Stopped {
        bench.replica(victim)?.thaw()?;
    } else {
        bench.cluster.start_replica(victim).await?;
    }
    bench.cluster.wait_until_stable().await?;
    Ok((before, first, next))
}
