//! The measurements and the report.

#![expect(clippy::doc_markdown, reason = "the comments of the arguments are the text of --help")]

mod cpu_cost;
mod door;
mod goals;
mod machine;
mod mixed_load;
mod postgres;
mod rates;
mod servers;
mod sizes;
mod tokens;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use key_authority_testkit::plot::Plot;
use tempfile::TempDir;

use self::servers::Pair;
use crate::key_set::{KeySet, Presented};
use crate::load::{Mode, Plan};
use crate::report::Report;

/// What to measure, and for how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Short runs with 100,000 keys, without `sizes` and `postgres`
    #[arg(long)]
    quick: bool,
    /// Number of resident keys [default: 1,000,000, or 100,000 with --quick]
    #[arg(long, value_name = "COUNT")]
    keys: Option<u64>,
    /// Measured time of each run in seconds [default: 4, or 1.5 with --quick]
    #[arg(long, value_name = "SECONDS")]
    time: Option<f64>,
    /// Rounds of each measurement, alternating with its baseline; the median counts
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    rounds: usize,
    /// Parts to measure, separated by commas [default: all, or all but sizes and postgres with --quick]
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// Numbers of keys for `sizes`
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000,1000000,10000000", value_name = "COUNT")]
    sizes: Vec<u64>,
    /// The server's executable [default: key-authority in the folder of this program]
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Folder that keeps the sets of keys for the next run [default: a temporary folder]
    #[arg(long = "stock", value_name = "PATH")]
    key_sets: Option<PathBuf>,
    /// URL of a PostgreSQL server for `postgres`, with a user that may create databases
    #[arg(long, env = "KEY_AUTHORITY_TEST_POSTGRES_URL", hide_env_values = true, value_name = "URL")]
    postgres: Option<String>,
    /// Folder for the report
    #[arg(long, default_value = "target/bench", value_name = "PATH")]
    out: PathBuf,
    /// An earlier report.json; prints the differences to it
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Verify, BatchVerify and VerifyStream beside the bare framework
    Costs,
    /// GET, pipelined and not
    Redis,
    /// Verify, measured by h2load
    H2load,
    /// Introspection and forward-auth beside a bare axum handler, measured by h2load
    Door,
    /// Forged, unknown and malformed tokens
    Tokens,
    /// Latency against offered load
    Rates,
    /// Cost, memory and start-up against the number of keys
    Sizes,
    /// Start-up on PostgreSQL; Verify during changes and while a second replica loads
    Postgres,
}

/// A run of the benchmark.
struct Bench {
    args: RunArgs,
    work: TempDir,
    report: Report,
    plots: Vec<Plot>,
}

/// Measures, and writes the report.
pub(crate) async fn run(args: RunArgs) -> Result<()> {
    let work = tempfile::Builder::new()
        .prefix("key-authority-bench-")
        .tempdir()
        .context("cannot create a temporary folder")?;
    let mut bench = Bench { args, work, report: Report::default(), plots: Vec::new() };
    bench.report.facts = machine::facts(&bench).await;
    if [Part::Costs, Part::Redis, Part::H2load, Part::Door, Part::Tokens, Part::Rates]
        .iter()
        .any(|part| bench.measures(*part))
    {
        let pair = Box::pin(Pair::start(&bench, bench.keys())).await?;
        if bench.measures(Part::Costs) {
            cpu_cost::measure(&mut bench, &pair).await?;
        }
        if bench.measures(Part::Redis) {
            cpu_cost::redis(&mut bench).await?;
        }
        if bench.measures(Part::H2load) {
            cpu_cost::h2load(&mut bench, &pair).await?;
        }
        if bench.measures(Part::Door) {
            door::measure(&mut bench, &pair).await?;
        }
        if bench.measures(Part::Tokens) {
            tokens::measure(&mut bench, &pair).await?;
        }
        if bench.measures(Part::Rates) {
            rates::measure(&mut bench, &pair).await?;
        }
        sizes::measure_current(&mut bench, &pair)?;
    }
    if bench.measures(Part::Sizes) {
        Box::pin(sizes::measure(&mut bench)).await?;
    }
    if bench.measures(Part::Postgres) {
        Box::pin(postgres::measure(&mut bench)).await?;
    }
    goals::add(&mut bench.report);
    bench.report.write(&bench.args.out, &bench.plots)?;
    key_authority_testkit::say!("wrote the report to {}", bench.args.out.display());
    match &bench.args.compare {
        Some(earlier) => bench.report.compare(earlier),
        None => Ok(()),
    }
}

impl Bench {
    fn measures(&self, part: Part) -> bool {
        match self.args.only.as_slice() {
            [] => !self.args.quick || !matches!(part, Part::Sizes | Part::Postgres),
            only => only.contains(&part),
        }
    }

    fn keys(&self) -> u64 {
        self.args.keys.unwrap_or(if self.args.quick { 100_000 } else { 1_000_000 })
    }

    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.args.time.unwrap_or(if self.args.quick { 1.5 } else { 4.0 }))
    }

    fn warm_up(&self) -> Duration {
        self.time() / 3
    }

    fn plan(&self, key_set: KeySet, mode: Mode, connections: usize, in_flight: usize) -> Plan {
        let (warm_up, time) = (self.warm_up(), self.time());
        Plan { key_set, presented: Presented::Valid, mode, connections, in_flight, rate: None, warm_up, time }
    }
}
