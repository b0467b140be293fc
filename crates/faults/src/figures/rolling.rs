//! A rolling restart under load: clients that retry at another replica see no error, and no change waits long.

use std::time::Duration;

use anyhow::{Result, anyhow};
use key_authority_testkit::clock::Clock;
use key_authority_testkit::rng::SeededRng;
use rand::RngExt as _;
use tokio::time::sleep;

use super::Bench;
use super::figure::{Figure, Unit};
use super::load::{self, Load, Routing};
use crate::client::{Client, is_retryable, new_key};

/// The target for the longest change, in seconds.
const CHANGE_S: f64 = 1.0;
/// The target for the longest exit, in seconds.
const EXIT_S: f64 = 10.0;
/// The pause between two restarts.
const MARGIN: Duration = Duration::from_secs(1);

/// Measures a rolling restart.
pub(crate) async fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    let load = Load::start(bench, Routing::Retrying)?;
    let (clients, mut rng, clock) = (bench.admin.clone(), bench.rng.fork(), bench.clock);
    let mut changes = Vec::new();
    let slowest_exit = tokio::select! {
        slowest = restart_each(bench) => slowest?,
        error = make_changes(&clients, &mut rng, clock, &mut changes) => return Err(error),
    };
    let answers = load.stop().await;
    let longest = changes.iter().copied().max().unwrap_or_default();
    Ok(vec![
        Figure::count("rolling restart: Verifies", answers.len()),
        Figure::never("rolling restart: … that failed at every replica", load::failed(&answers)),
        Figure::never("rolling restart: … that were denied", load::denied(&answers)),
        Figure::count("rolling restart: changes, one after the other", changes.len()),
        Figure::time("rolling restart: longest change", longest, Unit::Seconds).target(CHANGE_S),
        Figure::time("rolling restart: longest exit", slowest_exit, Unit::Seconds).target(EXIT_S),
    ])
}

/// Restarts one replica after the other, and returns the time of the slowest exit in nanoseconds.
async fn restart_each(bench: &mut Bench) -> Result<u64> {
    let mut slowest = 0;
    for index in 0..bench.cluster.replicas.len() {
        sleep(MARGIN).await;
        let began = bench.clock.now();
        bench.replica(index)?.terminate().await?;
        slowest = slowest.max(bench.clock.now() - began);
        bench.cluster.start_replica(index).await?;
    }
    bench.cluster.wait_until_stable().await?;
    sleep(MARGIN).await;
    Ok(slowest)
}

/// Creates keys, one after the other, until an error; records the time of each, including retries.
async fn make_changes(clients: &[Client], rng: &mut SeededRng, clock: Clock, took: &mut Vec<u64>) -> anyhow::Error {
    loop {
        let began = clock.now();
        let request = new_key(&rng.name());
        let mut first = rng.random_range(0..clients.len());
        loop {
            let Some(client) = clients.get(first % clients.len()) else { return anyhow!("no replicas") };
            match client.create_key(request.clone()).await {
                Ok(_) => break,
                Err(status) if is_retryable(&status) => first += 1,
                Err(status) => return status.into(),
            }
            // A refused connection fails at once, so pause before the retry.
            sleep(Duration::from_millis(1)).await;
        }
        took.push(clock.now() - began);
    }
}
