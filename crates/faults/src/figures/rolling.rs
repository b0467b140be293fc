//! A rolling restart under load: nobody whose client asks another replica notices, and no change waits.

use std::time::Duration;

use tokio::time::sleep;

use super::Bench;
use super::figure::{Figure, Unit};
use super::load::{self, Load, Manner};
use crate::chance::Chance;
use crate::client::{Client, may_be_repeated, new_key};
use crate::clock::Clock;
use crate::trouble::Trouble;

/// What no change may take longer than, in seconds.
const CHANGE_S: f64 = 1.0;
/// What an exit may take, in seconds.
const EXIT_S: f64 = 10.0;
/// How long it is watched between two restarts.
const MARGIN: Duration = Duration::from_secs(1);

/// Measures it.
pub(crate) async fn measure(bench: &mut Bench) -> Result<Vec<Figure>, Trouble> {
    let load = Load::start(bench, Manner::Retrying)?;
    let (clients, mut chance, clock) = (bench.admin.clone(), bench.chance.fork(), bench.clock);
    let mut changes = Vec::new();
    let slowest_exit = tokio::select! {
        slowest = restart_each(bench) => slowest?,
        trouble = change_on(&clients, &mut chance, clock, &mut changes) => return Err(trouble),
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

/// Ends and starts one replica after the other, and returns how long the slowest took to end.
async fn restart_each(bench: &mut Bench) -> Result<u64, Trouble> {
    let mut slowest = 0;
    for index in 0..bench.cluster.replicas.len() {
        sleep(MARGIN).await;
        let began = bench.clock.now();
        bench.replica(index)?.terminate().await?;
        slowest = slowest.max(bench.clock.now() - began);
        bench.cluster.start_replica(index).await?;
    }
    bench.cluster.until_at_rest().await?;
    sleep(MARGIN).await;
    Ok(slowest)
}

/// Makes keys, one after the other, until something goes wrong; notes how long each took until OK.
async fn change_on(clients: &[Client], chance: &mut Chance, clock: Clock, took: &mut Vec<u64>) -> Trouble {
    loop {
        let began = clock.now();
        let request = new_key(&chance.name());
        let mut first = chance.below(clients.len());
        loop {
            let Some(client) = clients.get(first % clients.len()) else { return "no replicas".into() };
            match client.create_key(request.clone()).await {
                Ok(_) => break,
                Err(status) if may_be_repeated(&status) => first += 1,
                Err(status) => return status.into(),
            }
            // A connection that is refused is refused at once.
            sleep(Duration::from_millis(1)).await;
        }
        took.push(clock.now() - began);
    }
}
