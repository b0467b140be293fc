//! What single faults cost, one after the other, with nothing else going on.

mod commit;
mod cut_off;
mod figure;
mod load;
mod outage;
mod rolling;
mod silence;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use self::figure::Figure;
use crate::arguments::{ServerArgs, duration};
use crate::chance::Chance;
use crate::client::{Client, new_key};
use crate::clock::Clock;
use crate::cluster::database::Kind;
use crate::cluster::replica::Replica;
use crate::cluster::{Cluster, Plan};
use crate::output;
use crate::progress::say;
use crate::trouble::{Attempt as _, Trouble};

/// Keys that are asked about.
const ASKED: usize = 16;

/// What is to be measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct FiguresArgs {
    /// Which database
    #[arg(long)]
    database: Kind,
    #[command(flatten)]
    server: ServerArgs,
    /// Lease of the replicas, 5s to 60s; an outage of 6s is to go unnoticed with the default
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    lease: Duration,
    /// Which figures
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL, value_name = "PARTS")]
    parts: Vec<Part>,
    /// Changes whose connection is cut around COMMIT
    #[arg(long, default_value_t = 1_000, value_name = "COUNT")]
    commits: usize,
    /// Where the harness's choices come from [default: another one each time; it is printed]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// File to write the report to as JSON [default: none]
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

/// A group of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A replica killed, stopped or ended
    Silence,
    /// A replica cut off from the database
    CutOff,
    /// The database away
    Outage,
    /// A rolling restart
    Rolling,
    /// Connections cut around COMMIT
    Commit,
}

impl Part {
    const ALL: [Self; 5] = [Self::Silence, Self::CutOff, Self::Outage, Self::Rolling, Self::Commit];
}

/// What all measurements work on.
#[derive(Debug)]
struct Bench {
    cluster: Cluster,
    /// Callers with every permission, one for each replica.
    admin: Vec<Client>,
    verifier_token: String,
    /// Of keys that are valid all the time.
    tokens: Vec<String>,
    chance: Chance,
    clock: Clock,
}

impl Bench {
    async fn start(args: &FiguresArgs, seed: u64) -> Result<Self, Trouble> {
        let mut chance = Chance::new(seed);
        let plan = Plan {
            database: args.database,
            replicas: 3,
            lease: args.lease,
            server: args.server.server.clone(),
            is_linked: true,
        };
        let cluster = Cluster::start(plan, &mut chance).await?;
        let admin = cluster.clients(&cluster.token)?;
        let first = admin.first().ok_or("no replicas")?;
        first.create_account().await.attempt("CreateAccount")?;
        let verifier_token = first.create_verifier().await.attempt("CreateKey")?;
        let mut tokens = Vec::new();
        for _ in 0..ASKED {
            tokens.push(first.create_key(new_key(&chance.name())).await.attempt("CreateKey")?.token);
        }
        Ok(Self { cluster, admin, verifier_token, tokens, chance, clock: Clock::start() })
    }

    fn replica(&mut self, index: usize) -> Result<&mut Replica, Trouble> {
        self.cluster.replicas.get_mut(index).ok_or_else(|| "there is no such replica".into())
    }

    /// Changes something at a replica, and tells how long that took in nanoseconds.
    async fn change(&mut self, index: usize) -> Result<u64, Trouble> {
        let client = self.admin.get(index).ok_or("there is no such replica")?;
        let began = self.clock.now();
        client.create_key(new_key(&self.chance.name())).await.attempt("CreateKey")?;
        Ok(self.clock.now() - began)
    }
}

#[derive(Debug, Serialize)]
struct Report {
    database: &'static str,
    seed: u64,
    lease_ms: u128,
    figures: Vec<Figure>,
    /// Lines in which a server says that it panicked.
    panics: Vec<String>,
}

/// Measures and reports; false when a promise was broken.
pub(crate) async fn figures(args: FiguresArgs) -> Result<bool, Trouble> {
    let seed = args.seed.unwrap_or_else(Chance::any_seed);
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
        bench.cluster.until_at_rest().await?;
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
