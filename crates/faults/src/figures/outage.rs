//! The database away: that Verify goes on, and how soon admin calls do again.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Bench;
use super::figure::{Figure, Unit};
use super::load::{self, Load, Manner};
use crate::chance::Chance;
use crate::client::{Client, new_key};
use crate::progress::say;
use crate::trouble::Trouble;

/// How long the database is to be away.
const OUTAGE: Duration = Duration::from_secs(6);
/// How much shorter it is made, lest it be longer.
const MARGIN: Duration = Duration::from_millis(100);
/// How often it is asked whether admin calls succeed again, each time by a new call.
const PROBE: Duration = Duration::from_millis(25);
/// How long that may take at all.
const RECOVERY_LIMIT: Duration = Duration::from_mins(1);
/// When admin calls are to succeed again, in seconds after the database answers.
const RECOVERED_S: f64 = 2.0;

/// Measures a restart, and an outage.
pub(crate) async fn measure(bench: &mut Bench) -> Result<Vec<Figure>, Trouble> {
    let (mut figures, restart) = away(bench, "restart of the database", Duration::ZERO).await?;
    // Its start is part of the outage.
    figures.extend(away(bench, "outage", OUTAGE.saturating_sub(restart + MARGIN)).await?.0);
    Ok(figures)
}

/// Lets the database be away for `pause` and the time that it takes to start. Returns how long that was, too.
async fn away(bench: &mut Bench, name: &str, pause: Duration) -> Result<(Vec<Figure>, Duration), Trouble> {
    let load = Load::start(bench, Manner::Pinned)?;
    sleep(Duration::from_secs(2)).await;
    let (crashed, clock) = (bench.clock.now(), bench.clock);
    bench.cluster.database.crash().await?;
    sleep(pause.saturating_sub(clock.since(crashed))).await;
    bench.cluster.database.resume().await?;
    let answers_again = clock.now();
    let was_away = answers_again - crashed;

    let reads = bench.admin.iter().map(|client| first_success(client, Probe::Read, bench.chance.fork()));
    let reads: Vec<_> = reads.collect();
    let changes = bench.admin.iter().map(|client| first_success(client, Probe::Change, bench.chance.fork()));
    let changes: Vec<_> = changes.collect();
    let all = async |probes: Vec<_>| {
        futures_util::future::join_all(probes).await;
        clock.now() - answers_again
    };
    let (reads, changes) = tokio::join!(all(reads), all(changes));
    bench.cluster.until_at_rest().await?;
    sleep(Duration::from_secs(1)).await;
    let answers = load.stop().await;
    for answer in answers.iter().filter(|answer| answer.outcome != load::Outcome::Valid).take(3) {
        say!("{name}: {answer:?}; it crashed at {crashed} and answered again at {answers_again}");
    }
    let figures = vec![
        Figure::time(format!("{name}: how long the database was away"), was_away, Unit::Seconds),
        Figure::count(format!("{name}: Verifies"), answers.len()),
        Figure::never(format!("{name}: … that failed"), load::failed(&answers)),
        Figure::never(format!("{name}: … that were denied"), load::denied(&answers)),
        Figure::time(format!("{name}: until every replica answers admin reads"), reads, Unit::Seconds)
            .target(RECOVERED_S),
        Figure::time(format!("{name}: until every replica makes changes"), changes, Unit::Seconds).target(RECOVERED_S),
    ];
    Ok((figures, Duration::from_nanos(was_away)))
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    Read,
    Change,
}

impl Probe {
    async fn succeeds(self, client: Client, name: String) -> bool {
        match self {
            Self::Read => client.replicas_alive().await.is_ok(),
            Self::Change => client.create_key(new_key(&name)).await.is_ok(),
        }
    }
}

/// Awaits that a call succeeds, or that it never does. A call that hangs does not keep the next from being made, as real
/// callers do not wait for each other.
async fn first_success(client: &Client, probe: Probe, mut chance: Chance) {
    let mut calls = JoinSet::new();
    let probes = async {
        loop {
            calls.spawn(probe.succeeds(client.clone(), chance.name()));
            let next = sleep(PROBE);
            tokio::pin!(next);
            loop {
                tokio::select! {
                    () = &mut next => break,
                    Some(done) = calls.join_next() => if matches!(done, Ok(true)) { return },
                }
            }
        }
    };
    if timeout(RECOVERY_LIMIT, probes).await.is_err() {
        say!("{probe:?} did not succeed within {RECOVERY_LIMIT:?} after the database answered");
    }
}
