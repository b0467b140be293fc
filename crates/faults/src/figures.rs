//! The cost of single faults, one after the other, without other faults.

mod commit;
mod cut_off;
mod figure;
mod load;
mod outage;
mod rolling;
mod silence;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use key_authority_testkit::clock::Clock;
use key_authority_testkit::rng::SeededRng;
use key_authority_testkit::say;
use serde::Serialize;

use self::figure::Figure;
use crate::arguments::{ServerArgs, duration};
use crate::client::{Client, new_key};
use crate::cluster::database::Kind;
use crate::cluster::replica::Replica;
use crate::cluster::{Cluster, Plan};
use crate::output;

/// Keys to verify.
const VERIFIED_KEYS: usize = 16;

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct FiguresArgs {
    /// Database
    #[arg(long)]
    database: Kind,
    #[command(flatten)]
    server: ServerArgs,
    /// Lease of the replicas, 5s to 60s; with the default, an outage of 6s must not affect Verify
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    lease: Duration,
    /// Groups of figures
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL, value_name = "PARTS")]
    parts: Vec<Part>,
    /// Number of changes whose connection is cut around COMMIT
    #[arg(long, default_value_t = 1_000, value_name = "COUNT")]
    commits: usize,
    /// Seed of the harness's choices [default: a random one, which is printed]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// File for the report as JSON [default: none]
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

/// A group of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A replica killed, stopped or terminated
    Silence,
    /// A replica without its database
    CutOff,
    /// The database down
    Outage,
    /// A rolling restart
    Rolling,
    /// Connections cut around COMMIT
    Commit,
}

impl Part {
    const ALL: [Self; 5] = [Self::Silence, Self::CutOff, Self::Outage, Self::Rolling, Self::Commit];
}

/// The cluster under test, and its clients.
#[derive(Debug)]
struct Bench {
    cluster: Cluster,
    /// A client with every permission for each replica.
    admin: Vec<Client>,
    verifier_token: String,
    /// Tokens of keys that stay valid.
    tokens: Vec<String>,
    rng: SeededRng,
    clock: Clock,
}

impl Bench {
    async fn start(args: &FiguresArgs, seed: u64) -> Result<Self> {
        let mut rng = SeededRng::new(seed);
        let plan = Plan {
            database: args.database,
            replicas: 3,
            lease: args.lease,
            server: args.server.server.clone(),
            is_linked: true,
        };
        let cluster = Cluster::start(plan, &mut rng).await?;
        let admin = cluster.clients(&cluster.token)?;
        let first = admin.first().context("no replicas")?;
        first.create_account().await.context("CreateAccount failed")?;
        let verifier_token = first.create_verifier().await.context("CreateKey failed")?;
        let mut tokens = Vec::new();
        for _ in 0..VERIFIED_KEYS {
            tokens.push(first.create_key(new_key(&rng.name())).await.context("CreateKey failed")?.token);
        }
        Ok(Self { cluster, admin, verifier_token, tokens, rng, clock: Clock::start() })
    }

    fn replica(&mut self, index: usize) -> Result<&mut Replica> {
        self.cluster.replicas.get_mut(index).context("no such replica")
    }

    /// Makes a change at a replica, and returns how long it took in nanoseconds.
    async fn change(&mut self, index: usize) -> Result<u64> {
        let client = self.admin.get(index).context("no such replica")?;
        let began = self.clock.now();
        client.create_key(new_key(&self.rng.name())).await.context("CreateKey failed")?;
        Ok(self.clock.now() - began)
    }
}

#[derive(Debug, Serialize)]
struct Report {
    database: &'static str,
    seed: u64,
    lease_ms: u128,
    figures: Vec<Figure>,
    /// Panics in the logs of the servers.
    panics: Vec<String>,
}

/// Measures and reports; false if a promise is broken.
pub(crate) async fn figures(args: FiguresArgs) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(SeededRng::random_seed);
    say!("figures on {}, --seed {seed}", args.database.name());
    let mut bench = Bench::start(&args, seed).await?;
    let mut figures = Vec::new();
    for part in &args.parts {
        say!("{part:?}");
        figures.extend(match part {
            Part::Silence => silence::measure(&mut bench).await?,
            Part::CutOff => cut_off::measure(&mut bench).await?,
            Part::Outage => outage::measure(&mut bench).await?,
            Part::Rolling => rolling::measure(&mut bench).await?,
            Part::Commit => commit::measure(&mut bench, args.commits).await?,
        });
        bench.cluster.wait_until_stable().await?;
    }
    let panics = bench.cluster.panics();
    let is_good = panics.is_empty() && !figures.iter().any(Figure::breaks_a_promise);
    let report = Report { database: args.database.name(), seed, lease_ms: args.lease.as_millis(), figures, panics };
    output::publish(&report.markdown(), &report, args.json.as_deref())?;
    Ok(is_good)
}

impl Report {
    fn markdown(&self) -> String {
        let head = format!(
            "### Single faults on {}\n\n3 replicas, lease {} ms, `--seed {}`.\n\n| figure | measured | at most | |\n\
             |---|---:|---:|---|\n",
            self.database, self.lease_ms, self.seed
        );
        let rows = self.figures.iter().map(|figure| figure.row() + "\n");
        let panics = self.panics.iter().map(|line| format!("\n- PANIC: {line}"));
        std::iter::once(head).chain(rows).chain(panics).collect()
    }
}
