//! A replica that is killed, stopped or ended: how long the change after it waits, and how long the next.

use serde::Serialize;

use super::Bench;
use super::figure::{Figure, Unit};
use crate::clock::seconds;
use crate::progress::say;
use crate::trouble::Trouble;

/// How often each is tried; the longest counts.
const TRIALS: usize = 3;
/// What a change may take beyond the lease, in seconds.
const MARGIN_S: f64 = 0.25;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum How {
    Killed,
    Stopped,
    Terminated,
}

/// Measures all three.
pub(crate) async fn measure(bench: &mut Bench) -> Result<Vec<Figure>, Trouble> {
    let mut figures = Vec::new();
    for (how, name) in [(How::Killed, "kill -9"), (How::Stopped, "SIGSTOP"), (How::Terminated, "SIGTERM")] {
        let (mut before, mut first, mut next) = (0, 0, 0);
        for _ in 0..TRIALS {
            let trial = try_once(bench, how).await?;
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
        let first_limit = if how == How::Terminated { MARGIN_S } else { lease + MARGIN_S };
        figures.extend([
            Figure::time(format!("{name} of a replica: the change before it"), before, Unit::Seconds),
            Figure::time(format!("{name} of a replica: the change after it"), first, Unit::Seconds).target(first_limit),
            Figure::time(format!("{name} of a replica: the next change"), next, Unit::Seconds).target(MARGIN_S),
        ]);
    }
    Ok(figures)
}

async fn try_once(bench: &mut Bench, how: How) -> Result<(u64, u64, u64), Trouble> {
    let victim = bench.cluster.replicas.len() - 1;
    let before = bench.change(0).await?;
    let replica = bench.replica(victim)?;
    match how {
        How::Killed => replica.kill().await?,
        How::Stopped => replica.freeze()?,
        How::Terminated => replica.terminate().await?,
    }
    let first = bench.change(0).await?;
    let next = bench.change(1).await?;
    if how == How::Stopped {
        bench.replica(victim)?.thaw()?;
    } else {
        bench.cluster.start_replica(victim).await?;
    }
    bench.cluster.until_at_rest().await?;
    Ok((before, first, next))
}
