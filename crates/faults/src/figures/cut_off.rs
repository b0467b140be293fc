//! A replica that cannot reach its database: the time of its last answer, and that it never denies.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{sleep, timeout};

use super::Bench;
use super::figure::{Figure, Unit};
use super::load::{self, Load, Outcome, Routing};
use crate::client::new_key;
use crate::cluster::link::State;

/// The only permitted error.
const NO_LEASE: &str = "Unavailable: LEASE_EXPIRED";
/// Concurrent changes at the replica that is cut off.
const CHANGES: usize = 8;
/// The target for the time until each of them fails, in seconds.
const FAILS_WITHIN_S: f64 = 6.0;
/// The timeout of these changes.
const CHANGE_TIMEOUT: Duration = Duration::from_mins(1);
/// How long to observe before and after the fault.
const MARGIN: Duration = Duration::from_secs(2);

/// Measures a cut link and a silent link.
pub(crate) async fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (state, name) in [(State::Cut, "link cut"), (State::Silent, "link silent")] {
        figures.extend(measure_one(bench, state, name).await?);
    }
    Ok(figures)
}

async fn measure_one(bench: &mut Bench, state: State, name: &str) -> Result<Vec<Figure>> {
    let lease = bench.cluster.plan.lease;
    let victim = bench.cluster.replicas.len() - 1;
    let load = Load::start(bench, Routing::Pinned)?;
    sleep(MARGIN).await;
    let cut = bench.clock.now();
    bench.replica(victim)?.set_link(state);
    let (changes_failed, ()) = tokio::join!(until_changes_fail(bench, victim), sleep(lease + MARGIN * 2));
    let opened = bench.clock.now();
    bench.replica(victim)?.set_link(State::Open);
    bench.cluster.wait_until_stable().await?;
    sleep(MARGIN).await;
    let answers = load.stop().await;

    let (at_victim, others): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.replica == victim);
    let is_valid = |answer: &&load::Answer| answer.outcome == Outcome::Valid;
    let last =
        at_victim.iter().filter(is_valid).filter(|answer| answer.invoked < opened).map(|answer| answer.replied).max();
    let last = last.unwrap_or(cut);
    let back =
        at_victim.iter().filter(is_valid).filter(|answer| answer.invoked >= opened).map(|answer| answer.replied).min();
    let while_away = at_victim.iter().filter(|answer| answer.invoked > last && answer.replied < opened);
    let refused = while_away.clone().count();
    let otherwise = while_away.filter(|answer| answer.outcome != Outcome::Failed(NO_LEASE.into())).count();
    let trust = lease.as_secs_f64() * 0.8;
    Ok(vec![
        Figure::time(format!("{name}: last answer after it"), last.saturating_sub(cut), Unit::Seconds).promise(trust),
        Figure::count(format!("{name}: calls after the last answer"), refused),
        Figure::never(format!("{name}: … that got anything but UNAVAILABLE, LEASE_EXPIRED"), otherwise),
        Figure::never(
            format!("{name}: denials in all, at any replica"),
            load::denied(&at_victim) + load::denied(&others),
        ),
        Figure::never(format!("{name}: failed Verifies at the other replicas"), load::failed(&others)),
        Figure::time(
            format!("{name}: first answer after it reopened"),
            back.unwrap_or(u64::MAX).saturating_sub(opened),
            Unit::Seconds,
        ),
        Figure::time(
            format!("{name}: {CHANGES} changes at once, until all have failed"),
            changes_failed?,
            Unit::Seconds,
        )
        .target(FAILS_WITHIN_S),
    ])
}

/// Makes changes at a replica that is cut off, and returns the time until the last of them failed, in nanoseconds.
async fn until_changes_fail(bench: &Bench, victim: usize) -> Result<u64> {
    let client = bench.admin.get(victim).context("no such replica")?;
    let began = bench.clock.now();
    let mut rng = bench.rng.clone();
    let requests: Vec<_> = (0..CHANGES).map(|_| new_key(&rng.name())).collect();
    let calls = requests.into_iter().map(|request| timeout(CHANGE_TIMEOUT, client.create_key(request)));
    futures_util::future::join_all(calls).await;
    Ok(bench.clock.now() - began)
}
