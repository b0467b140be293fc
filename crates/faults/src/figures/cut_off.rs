//! A replica that does not reach its database: when it answered last, and that it never denies.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Bench;
use super::figure::{Figure, Unit};
use super::load::{self, Load, Manner, Outcome};
use crate::client::new_key;
use crate::cluster::link::State;
use crate::trouble::Trouble;

/// The one reason for which it may not answer.
const NO_LEASE: &str = "Unavailable: LEASE_EXPIRED";
/// How many changes are tried at once at a replica that is cut off.
const CHANGES: usize = 8;
/// When each of them is to be told, in seconds.
const TOLD_S: f64 = 6.0;
/// When that counts as never.
const TOLD_LIMIT: Duration = Duration::from_mins(1);
/// How long it is watched before and after.
const MARGIN: Duration = Duration::from_secs(2);

/// Measures a link that is cut, and one that falls silent.
pub(crate) async fn measure(bench: &mut Bench) -> Result<Vec<Figure>, Trouble> {
    let mut figures = Vec::new();
    for (state, name) in [(State::Cut, "link cut"), (State::Silent, "link silent")] {
        figures.extend(measure_one(bench, state, name).await?);
    }
    Ok(figures)
}

async fn measure_one(bench: &mut Bench, state: State, name: &str) -> Result<Vec<Figure>, Trouble> {
    let lease = bench.cluster.plan.lease;
    let victim = bench.cluster.replicas.len() - 1;
    let load = Load::start(bench, Manner::Pinned)?;
    sleep(MARGIN).await;
    let cut = bench.clock.now();
    bench.replica(victim)?.set_link(state);
    let (told, ()) = tokio::join!(until_told(bench, victim), sleep(lease + MARGIN * 2));
    let opened = bench.clock.now();
    bench.replica(victim)?.set_link(State::Open);
    bench.cluster.until_at_rest().await?;
    sleep(MARGIN).await;
    let answers = load.stop().await;

    let (theirs, others): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.replica == victim);
    let is_valid = |answer: &&load::Answer| answer.outcome == Outcome::Valid;
    let last =
        theirs.iter().filter(is_valid).filter(|answer| answer.invoked < opened).map(|answer| answer.replied).max();
    let last = last.unwrap_or(cut);
    let back =
        theirs.iter().filter(is_valid).filter(|answer| answer.invoked >= opened).map(|answer| answer.replied).min();
    let while_away = theirs.iter().filter(|answer| answer.invoked > last && answer.replied < opened);
    let refused = while_away.clone().count();
    let otherwise = while_away.filter(|answer| answer.outcome != Outcome::Failed(NO_LEASE.into())).count();
    let trust = lease.as_secs_f64() * 0.8;
    Ok(vec![
        Figure::time(format!("{name}: last answer after it"), last.saturating_sub(cut), Unit::Seconds).promise(trust),
        Figure::count(format!("{name}: calls after the last answer"), refused),
        Figure::never(format!("{name}: … that got anything but UNAVAILABLE, LEASE_EXPIRED"), otherwise),
        Figure::never(format!("{name}: denials in all, at any replica"), load::denied(&theirs) + load::denied(&others)),
        Figure::never(format!("{name}: failed Verifies at the other replicas"), load::failed(&others)),
        Figure::time(
            format!("{name}: first answer after it was mended"),
            back.unwrap_or(u64::MAX).saturating_sub(opened),
            Unit::Seconds,
        ),
        Figure::time(format!("{name}: {CHANGES} changes at once, until all are told"), told?, Unit::Seconds)
            .target(TOLD_S),
    ])
}

/// Makes changes at a replica that is cut off, and returns how long it took until the last was told that it cannot be done.
async fn until_told(bench: &Bench, victim: usize) -> Result<u64, Trouble> {
    let client = bench.admin.get(victim).ok_or("there is no such replica")?;
    let began = bench.clock.now();
    let mut chance = bench.chance.clone();
    let requests: Vec<_> = (0..CHANGES).map(|_| new_key(&chance.name())).collect();
    let calls = requests.into_iter().map(|request| timeout(TOLD_LIMIT, client.create_key(request)));
    futures_util::future::join_all(calls).await;
    Ok(bench.clock.now() - began)
}
