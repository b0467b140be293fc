//! The measurements, one after the other, and the report.

#![expect(clippy::doc_markdown, reason = "the comments of the arguments are the text of --help")]

mod authorities;
mod company;
mod costs;
mod goals;
mod machine;
mod postgres;
mod rates;
mod sizes;
mod tokens;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tempfile::TempDir;

use self::authorities::Pair;
use crate::load::{Mode, Plan};
use crate::report::{Plot, Report};
use crate::stock::{Presented, Stock};
use crate::trouble::{Attempt as _, Trouble};

/// What is measured, and how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// A short form: 100,000 keys, short runs, and neither `sizes` nor `postgres`
    #[arg(long)]
    quick: bool,
    /// How many keys are resident [default: 1,000,000, or 100,000 with --quick]
    #[arg(long, value_name = "COUNT")]
    keys: Option<u64>,
    /// How long each run is counted, in seconds [default: 4, or 1.5 with --quick]
    #[arg(long, value_name = "SECONDS")]
    time: Option<f64>,
    /// How often each is measured, in turn with what it is compared with; the one in the middle counts
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    rounds: usize,
    /// What is measured, separated by commas [default: all, or all but sizes and postgres with --quick]
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// The numbers of keys that `sizes` measures
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000,1000000,10000000", value_name = "COUNT")]
    sizes: Vec<u64>,
    /// The server's program [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Folder in which sets of keys are kept for the next run [default: they are made anew, and removed]
    #[arg(long, value_name = "PATH")]
    stock: Option<PathBuf>,
    /// A PostgreSQL server for `postgres`: the URL of a user who may create databases
    #[arg(long, env = "KEY_AUTHORITY_TEST_POSTGRES_URL", hide_env_values = true, value_name = "URL")]
    postgres: Option<String>,
    /// Folder of the report
    #[arg(long, default_value = "target/bench", value_name = "PATH")]
    out: PathBuf,
    /// An earlier report.json, to print what has changed since
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Verify, BatchVerify and VerifyStream beside the bare framework
    Costs,
    /// GET, pipelined and not
    Redis,
    /// A second opinion on Verify
    H2load,
    /// Tokens that are forged, unknown or malformed
    Tokens,
    /// Latency against offered load
    Rates,
    /// Cost, memory and start against the number of keys
    Sizes,
    /// Verify beside changes and beside a second replica that loads, on PostgreSQL
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
pub(crate) async fn run(args: RunArgs) -> Result<(), Trouble> {
    let work = tempfile::Builder::new().prefix("key-authority-bench-").tempdir().attempt("a folder")?;
    let mut bench = Bench { args, work, report: Report::default(), plots: Vec::new() };
    bench.report.facts = machine::facts(&bench).await;
    if [Part::Costs, Part::Redis, Part::H2load, Part::Tokens, Part::Rates].iter().any(|part| bench.has(*part)) {
        let pair = Box::pin(Pair::start(&bench, bench.keys())).await?;
        if bench.has(Part::Costs) {
            costs::measure(&mut bench, &pair).await?;
        }
        if bench.has(Part::Redis) {
            costs::redis(&mut bench).await?;
        }
        if bench.has(Part::H2load) {
            costs::h2load(&mut bench, &pair).await?;
        }
        if bench.has(Part::Tokens) {
            tokens::measure(&mut bench, &pair).await?;
        }
        if bench.has(Part::Rates) {
            rates::measure(&mut bench, &pair).await?;
        }
        sizes::one(&mut bench, &pair)?;
    }
    if bench.has(Part::Sizes) {
        Box::pin(sizes::measure(&mut bench)).await?;
    }
    if bench.has(Part::Postgres) {
        Box::pin(postgres::measure(&mut bench)).await?;
    }
    goals::add(&mut bench.report);
    bench.report.write(&bench.args.out, &bench.plots)?;
    crate::progress::say!("the report is in {}", bench.args.out.display());
    match &bench.args.compare {
        Some(earlier) => bench.report.compare(earlier),
        None => Ok(()),
    }
}

impl Bench {
    fn has(&self, part: Part) -> bool {
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

    fn plan(&self, stock: Stock, mode: Mode, connections: usize, in_flight: usize) -> Plan {
        let (warm_up, time) = (self.warm_up(), self.time());
        Plan { stock, presented: Presented::Valid, mode, connections, in_flight, rate: None, warm_up, time }
    }
}
