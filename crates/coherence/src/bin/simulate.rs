//! `simulate`: runs the simulation for many seeds, and stops at the first violation.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use key_authority_coherence::{Outcome, Statistics, Variant, run};
use key_authority_testkit::clock::Clock;
use key_authority_testkit::say;
use tokio::sync::watch;

/// Simulates the coherence protocol: replicas, clients, one database, and the faults between them.
///
/// Each seed is one run, and the same seed always gives the same run. Exits with 1 at the first run that violates a
/// promise, and prints the command that reproduces it.
#[derive(Debug, Parser)]
#[command(name = "simulate", version)]
struct Cli {
    /// Number of seeds to run
    #[arg(long, default_value_t = 100_000, value_name = "COUNT")]
    seeds: u64,
    /// First seed; the others follow it
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    first_seed: u64,
    /// Number of parallel runs [default: number of processors]
    #[arg(long, value_name = "COUNT")]
    threads: Option<NonZeroUsize>,
    /// Simulate an unsafe variant of the protocol, to see it fail
    #[arg(long, value_name = "NAME", value_parser = variant_parser())]
    variant: Option<Variant>,
    /// Print every event of each run; use it with --seeds 1
    #[arg(long)]
    trace: bool,
}

fn variant_parser() -> impl clap::builder::TypedValueParser<Value = Variant> {
    PossibleValuesParser::new(Variant::ALL.map(Variant::name))
        .try_map(|name| Variant::ALL.into_iter().find(|variant| variant.name() == name).ok_or("no such variant"))
}

/// The state that the threads share.
struct Work {
    cli: Cli,
    /// The number of seeds that threads have taken.
    taken: AtomicU64,
    is_cancelled: AtomicBool,
    results: Mutex<Results>,
}

#[derive(Default)]
struct Results {
    statistics: Statistics,
    /// The violation of the lowest seed.
    failed: Option<Outcome>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let threads = cli.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let work = Work { cli, taken: AtomicU64::new(0), is_cancelled: AtomicBool::new(false), results: Mutex::default() };
    let clock = Clock::start();
    let (ended, is_ended) = watch::channel(());
    thread::scope(|scope| {
        for _ in 0..threads {
            let (work, ended) = (&work, ended.clone());
            scope.spawn(move || {
                simulate(work);
                drop(ended);
            });
        }
        drop(ended);
        supervise(&work, is_ended, clock);
    });
    let results = work.results.into_inner().unwrap_or_else(PoisonError::into_inner);
    match report(&work.cli, &results, clock.elapsed()) {
        Ok(code) => code,
        // Standard output is closed.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Runs one seed after the other until none are left or a run has failed.
fn simulate(work: &Work) {
    while !work.is_cancelled.load(Ordering::Relaxed) {
        let taken = work.taken.fetch_add(1, Ordering::Relaxed);
        if taken >= work.cli.seeds {
            return;
        }
        let outcome = run(work.cli.first_seed.wrapping_add(taken), work.cli.variant, work.cli.trace);
        if work.cli.trace {
            let mut out = io::stdout().lock();
            // The reader may close standard output early.
            let _ = outcome.trace.iter().try_for_each(|line| writeln!(out, "{line}"));
        }
        let mut results = work.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.statistics.add(&outcome.statistics);
        if outcome.violation.is_some() {
            work.is_cancelled.store(true, Ordering::Relaxed);
            let is_first = results.failed.as_ref().is_none_or(|failed| outcome.seed < failed.seed);
            if is_first {
                results.failed = Some(outcome);
            }
        }
    }
}

/// Prints the progress until the threads have ended, and stops them on Ctrl-C.
fn supervise(work: &Work, mut is_ended: watch::Receiver<()>, clock: Clock) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Without a runtime there is no progress output; the threads run anyway.
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.tick().await;
        loop {
            tokio::select! {
                _ = is_ended.changed() => return,
                _ = tokio::signal::ctrl_c() => work.is_cancelled.store(true, Ordering::Relaxed),
                _ = second.tick() => progress(work, clock.elapsed()),
            }
        }
    });
}

fn progress(work: &Work, took: Duration) {
    let done = work.results.lock().unwrap_or_else(PoisonError::into_inner).statistics.runs;
    let per_second = done * 1_000 / u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    say!("{done} of {} seeds, {per_second} per second", work.cli.seeds);
}

fn report(cli: &Cli, results: &Results, took: Duration) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    write!(out, "{}", results.statistics)?;
    writeln!(out, "{:>15.1} seconds", took.as_secs_f64())?;
    let Some(failed) = &results.failed else {
        let is_whole = results.statistics.runs >= cli.seeds;
        writeln!(out, "{}", if is_whole { "no violation" } else { "interrupted; no violation so far" })?;
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(violation) = &failed.violation {
        writeln!(out, "seed {}: {violation}", failed.seed)?;
    }
    let variant = cli.variant.map(|variant| format!(" --variant {variant}")).unwrap_or_default();
    writeln!(
        out,
        "to reproduce it: cargo run --release -p key-authority-coherence --bin simulate -- \
         --first-seed {} --seeds 1{variant} --trace",
        failed.seed
    )?;
    Ok(ExitCode::FAILURE)
}
