//! The time until every replica has a change, beside a bare commit on the same database in the same run.

mod bare;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use key_authority_proto::v1::PropagationState;
use key_authority_testkit::clock::Clock;
use key_authority_testkit::rng::SeededRng;
use key_authority_testkit::say;
use serde::Serialize;

use self::bare::Bare;
use crate::arguments::{ServerArgs, duration};
use crate::client::{Client, new_key};
use crate::cluster::database::Kind;
use crate::cluster::{Cluster, Plan};
use crate::output;
use crate::stats::{self, Times};

/// Changes before the measurement, to open connections and prepare statements.
const WARM_UP: usize = 20;
/// Keys to create concurrently.
const CREATE_CONCURRENCY: usize = 16;

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct LatencyArgs {
    /// Database
    #[arg(long)]
    database: Kind,
    #[command(flatten)]
    server: ServerArgs,
    /// Lease of the replicas, 5s to 60s; no call here waits for it
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    lease: Duration,
    /// Numbers of replicas, measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8", value_name = "COUNTS")]
    replicas: Vec<usize>,
    /// Sequential revocations per number of replicas, each preceded by a bare commit
    #[arg(long, default_value_t = 500, value_name = "COUNT")]
    revocations: usize,
    /// File for the report as JSON [default: none]
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    database: &'static str,
    stages: Vec<Stage>,
}

/// The results for one number of replicas.
#[derive(Debug, Serialize)]
struct Stage {
    replicas: usize,
    bare_commit: Times,
    revocation: Times,
    /// The part of it after the commit, as the server reports it.
    propagation: Times,
    /// Revocations that waited for a replica's lease to expire: 0 unless the machine is overloaded.
    lapsed: u64,
}

/// Measures and reports. There are no limits, so the result is always true.
pub(crate) async fn latency(args: LatencyArgs) -> Result<bool> {
    let mut rng = SeededRng::new(SeededRng::random_seed());
    let plan = Plan {
        database: args.database,
        replicas: 1,
        lease: args.lease,
        server: args.server.server.clone(),
        is_linked: false,
    };
    let mut cluster = Cluster::start(plan, &mut rng).await?;
    let clock = Clock::start();
    cluster
        .clients(&cluster.token)?
        .first()
        .context("no replicas")?
        .create_account()
        .await
        .context("CreateAccount failed")?;
    let mut bare = Bare::prepare(&cluster, clock).await?;
    let mut report = Report { database: args.database.name(), stages: Vec::new() };
    for &count in &args.replicas {
        cluster.grow(count, &mut rng).await?;
        let stage = measure(&args, &cluster, &mut bare, clock, &mut rng).await?;
        say!("{count} replicas: {}", stage.revocation.cells());
        report.stages.push(stage);
    }
    output::publish(&report.markdown(), &report, args.json.as_deref())?;
    Ok(true)
}

async fn measure(
    args: &LatencyArgs,
    cluster: &Cluster,
    bare: &mut Bare,
    clock: Clock,
    rng: &mut SeededRng,
) -> Result<Stage> {
    let clients = cluster.clients(&cluster.token)?;
    let keys = create_keys(&clients, WARM_UP + args.revocations, rng).await?;
    let (mut commits, mut revocations, mut waits) = (stats::histogram(), stats::histogram(), stats::histogram());
    let mut lapsed = 0;
    for (number, (key, client)) in keys.iter().zip(clients.iter().cycle()).enumerate() {
        let committed = bare.commit().await?;
        let began = clock.now();
        let answer = client.revoke(key, &rng.name()).await.context("RevokeKey failed")?;
        let took = clock.since(began);
        if number < WARM_UP {
            continue;
        }
        let propagation = answer.propagation.unwrap_or_default();
        let waited = propagation.waited.unwrap_or_default();
        let waited = Duration::try_from(waited).context("invalid waiting time")?;
        lapsed += u64::from(propagation.state() == PropagationState::Lapsed);
        for (histogram, time) in [(&mut commits, committed), (&mut revocations, took), (&mut waits, waited)] {
            histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        }
    }
    let (bare_commit, revocation) = (Times::of(&commits), Times::of(&revocations));
    Ok(Stage { replicas: clients.len(), bare_commit, revocation, propagation: Times::of(&waits), lapsed })
}

/// Creates keys, and returns their IDs.
async fn create_keys(clients: &[Client], count: usize, rng: &mut SeededRng) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let names: Vec<String> = (0..CREATE_CONCURRENCY.min(count - ids.len())).map(|_| rng.name()).collect();
        let calls = names.iter().zip(clients.iter().cycle()).map(|(name, client)| client.create_key(new_key(name)));
        for created in futures_util::future::try_join_all(calls).await.context("CreateKey failed")? {
            ids.push(created.key.map(|key| key.id).unwrap_or_default());
        }
    }
    Ok(ids)
}

impl Report {
    fn markdown(&self) -> String {
        let mut text = format!(
            "### Latency on {}\n\nSequential revocations, spread over the replicas, each preceded by a bare commit. \
             All times in ms.\n\n| replicas | | count | p50 | p90 | p99 | max |\n|---:|---|---:|---:|---:|---:|---:|\n",
            self.database
        );
        for stage in &self.stages {
            for (name, times) in [
                ("bare commit", stage.bare_commit),
                ("revocation to OK", stage.revocation),
                ("… of it after the commit", stage.propagation),
            ] {
                let _ = writeln!(text, "| {} | {name} | {} |", stage.replicas, times.cells());
            }
        }
        let lapsed: u64 = self.stages.iter().map(|stage| stage.lapsed).sum();
        let _ = writeln!(text, "\nNot confirmed by every replica: {lapsed}");
        text
    }
}
