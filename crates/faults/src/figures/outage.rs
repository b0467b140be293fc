//! The database down: Verify continues, and admin calls recover soon.

use std::time::Duration;

use anyhow::Result;
use key_authority_testkit::rng::SeededRng;
use key_authority_testkit::say;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Bench;
use super::figure::{Figure, Unit};
use super::load::{self, Load, Routing};
use crate::client::{Client, new_key};

/// The length of the outage.
const OUTAGE: Duration = Duration::from_secs(6);
/// How much to shorten it, since the recovery time varies.
const MARGIN: Duration = Duration::from_millis(100);
/// The interval between probes of admin calls; each probe is a new call.
const PROBE: Duration = Duration::from_millis(25);
/// The timeout for the recovery of admin calls.
const RECOVERY_TIMEOUT: Duration = Duration::from_mins(1);
/// The target for the recovery of admin calls, in seconds after the database accepts connections.
const RECOVERED_S: f64 = 2.0;

/// Measures a restart, and an outage.
pub(crate) async fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    let (mut figures, restart) = crash(bench, "restart of the database", Duration::ZERO).await?;
    // The start of the database is part of the outage.
    figures.extend(crash(bench, "outage", OUTAGE.saturating_sub(restart + MARGIN)).await?.0);
    Ok(figures)
}

/// Crashes the database and starts it again after `pause`. Also returns how long it was down, including its start.
async fn crash(bench: &mut Bench, name: &str, pause: Duration) -> Result<(Vec<Figure>, Duration)> {
    let load = Load::start(bench, Routing::Pinned)?;
    sleep(Duration::from_secs(2)).await;
    let (crashed, clock) = (bench.clock.now(), bench.clock);
    bench.cluster.database.crash().await?;
    sleep(pause.saturating_sub(clock.since(crashed))).await;
    bench.cluster.database.resume().await?;
    let recovered = clock.now();
    let was_down = recovered - crashed;

    let reads = bench.admin.iter().map(|client| first_success(client, Probe::Read, bench.rng.fork()));
    let reads: Vec<_> = reads.collect();
    let changes = bench.admin.iter().map(|client| first_success(client, Probe::Change, bench.rng.fork()));
    let changes: Vec<_> = changes.collect();
    let all = async |probes: Vec<_>| {
        futures_util::future::join_all(probes).await;
        clock.now() - recovered
    };
    let (reads, changes) = tokio::join!(all(reads), all(changes));
    bench.cluster.wait_until_stable().await?;
    sleep(Duration::from_secs(1)).await;
    let answers = load.stop().await;
    for answer in answers.iter().filter(|answer| answer.outcome != load::Outcome::Valid).take(3) {
        say!("{name}: {answer:?}; the database crashed at {crashed} and recovered at {recovered}");
    }
    let figures = vec![
        Figure::time(format!("{name}: how long the database was down"), was_down, Unit::Seconds),
        Figure::count(format!("{name}: Verifies"), answers.len()),
        Figure::never(format!("{name}: … that failed"), load::failed(&answers)),
        Figure::never(format!("{name}: … that were denied"), load::denied(&answers)),
        Figure::time(format!("{name}: until every replica answers admin reads"), reads, Unit::Seconds)
            .target(RECOVERED_S),
        Figure::time(format!("{name}: until every replica makes changes"), changes, Unit::Seconds).target(RECOVERED_S),
    ];
    Ok((figures, Duration::from_nanos(was_down)))
}

/// A kind of admin call.
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

/// Waits until a call succeeds, at most for [`RECOVERY_TIMEOUT`]. Each probe runs in a task of its own, so that a
/// hanging call does not delay the next one.
async fn first_success(client: &Client, probe: Probe, mut rng: SeededRng) {
    let mut calls = JoinSet::new();
    let probes = async {
        loop {
            calls.spawn(probe.succeeds(client.clone(), rng.name()));
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
    if timeout(RECOVERY_TIMEOUT, probes).await.is_err() {
        say!("{probe:?} did not succeed within {RECOVERY_TIMEOUT:?} after the database recovered");
    }
}
