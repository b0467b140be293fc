//! How long a change takes until every replica has it, beside a bare commit on the same database in the same run.

mod bare;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use key_authority_proto::v1::PropagationState;
use serde::Serialize;

use self::bare::Bare;
use crate::arguments::{ServerArgs, duration};
use crate::chance::Chance;
use crate::client::{Client, new_key};
use crate::clock::Clock;
use crate::cluster::database::Kind;
use crate::cluster::{Cluster, Plan};
use crate::output;
use crate::progress::say;
use crate::stats::{self, Times};
use crate::trouble::{Attempt as _, Trouble};

/// Changes before those that count: connections are made, statements prepared.
const WARM_UP: usize = 20;
/// Keys made at once.
const MADE_AT_ONCE: usize = 16;

/// What is to be measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct LatencyArgs {
    /// Which database
    #[arg(long)]
    database: Kind,
    #[command(flatten)]
    server: ServerArgs,
    /// Lease of the replicas, 5s to 60s; nothing here waits for it
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    lease: Duration,
    /// Numbers of replicas, each with revocations of its own
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8", value_name = "COUNTS")]
    replicas: Vec<usize>,
    /// Revocations for each number of replicas, one after the other, and as many bare commits between them
    #[arg(long, default_value_t = 500, value_name = "COUNT")]
    revocations: usize,
    /// File to write the report to as JSON [default: none]
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    database: &'static str,
    stages: Vec<Stage>,
}

/// What was measured with so many replicas.
#[derive(Debug, Serialize)]
struct Stage {
    replicas: usize,
    bare_commit: Times,
    revocation: Times,
    /// Of it, the wait after the commit, as the server tells it.
    propagation: Times,
    /// Revocations that waited a silent replica out: none, unless the machine is overloaded.
    lapsed: u64,
}

/// Measures and reports. It has no limits to keep, so it is always good.
pub(crate) async fn latency(args: LatencyArgs) -> Result<bool, Trouble> {
    let mut chance = Chance::new(Chance::any_seed());
    let plan = Plan {
        database: args.database,
        replicas: 1,
        lease: args.lease,
        server: args.server.server.clone(),
        is_linked: false,
    };
    let mut cluster = Cluster::start(plan, &mut chance).await?;
    let clock = Clock::start();
    cluster.clients(&cluster.token)?.first().ok_or("no replicas")?.create_account().await.attempt("CreateAccount")?;
    let mut bare = Bare::prepare(&cluster, clock).await?;
    let mut report = Report { database: args.database.name(), stages: Vec::new() };
    for &count in &args.replicas {
        cluster.grow(count, &mut chance).await?;
        let stage = measure(&args, &cluster, &mut bare, clock, &mut chance).await?;
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
    chance: &mut Chance,
) -> Result<Stage, Trouble> {
    let clients = cluster.clients(&cluster.token)?;
    let keys = make_keys(&clients, WARM_UP + args.revocations, chance).await?;
    let (mut commits, mut revocations, mut waits) = (stats::histogram(), stats::histogram(), stats::histogram());
    let mut lapsed = 0;
    for (number, (key, client)) in keys.iter().zip(clients.iter().cycle()).enumerate() {
        let committed = bare.commit().await?;
        let began = clock.now();
        let answer = client.revoke(key, &chance.name()).await.attempt("RevokeKey")?;
        let took = clock.since(began);
        if number < WARM_UP {
            continue;
        }
        let propagation = answer.propagation.unwrap_or_default();
        let waited = propagation.waited.unwrap_or_default();
        let waited = Duration::try_from(waited).attempt("how long it waited")?;
        lapsed += u64::from(propagation.state() == PropagationState::Lapsed);
        for (histogram, time) in [(&mut commits, committed), (&mut revocations, took), (&mut waits, waited)] {
            histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        }
    }
    let (bare_commit, revocation) = (Times::of(&commits), Times::of(&revocations));
    Ok(Stage { replicas: clients.len(), bare_commit, revocation, propagation: Times::of(&waits), lapsed })
}

/// Makes keys, and returns their IDs.
pub(crate) async fn make_keys(clients: &[Client], count: usize, chance: &mut Chance) -> Result<Vec<String>, Trouble> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let names: Vec<String> = (0..MADE_AT_ONCE.min(count - ids.len())).map(|_| chance.name()).collect();
        let calls = names.iter().zip(clients.iter().cycle()).map(|(name, client)| client.create_key(new_key(name)));
        for made in futures_util::future::try_join_all(calls).await.attempt("CreateKey")? {
            ids.push(made.key.map(|key| key.id).unwrap_or_default());
        }
    }
    Ok(ids)
}

impl Report {
    fn markdown(&self) -> String {
        let mut text = format!(
            "### Latency on {}\n\nRevocations, one after the other, spread over the replicas; a bare commit before \
             each. All in ms.\n\n| replicas | | count | p50 | p90 | p99 | max |\n|---:|---|---:|---:|---:|---:|---:|\n",
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
