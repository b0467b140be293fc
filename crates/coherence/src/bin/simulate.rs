//! `simulate`: runs the simulation for many seeds, and stops at the first that breaks a promise.

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
use key_authority_replica::clock::{Boottime, boottime};
use tokio::sync::watch;

/// Simulates the coherence protocol: replicas, clients, one database and everything that can go wrong between them.
///
/// Each seed is one run, and the same seed is always the same run. Ends with exit code 1 at the first run in which a promise
/// was broken, and says how to see it again.
#[derive(Debug, Parser)]
#[command(name = "simulate", version)]
struct Cli {
    /// How many seeds to run
    #[arg(long, default_value_t = 100_000, value_name = "COUNT")]
    seeds: u64,
    /// The first of them; the others follow it
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    first_seed: u64,
    /// How many runs go on at once [default: as many as there are processors]
    #[arg(long, value_name = "COUNT")]
    threads: Option<NonZeroUsize>,
    /// Simulate a naive variant of the protocol, to see it fail
    #[arg(long, value_name = "NAME", value_parser = variant_parser())]
    variant: Option<Variant>,
    /// Print what happens in each run, event by event; meant for --seeds 1
    #[arg(long)]
    trace: bool,
}

fn variant_parser() -> impl clap::builder::TypedValueParser<Value = Variant> {
    PossibleValuesParser::new(Variant::ALL.map(Variant::name)).try_map(|name| {
        Variant::ALL.into_iter().find(|variant| variant.name() == name).ok_or("there is no such variant")
    })
}

/// What the threads share.
struct Work {
    cli: Cli,
    /// How many seeds were taken.
    taken: AtomicU64,
    is_cancelled: AtomicBool,
    so_far: Mutex<SoFar>,
}

#[derive(Default)]
struct SoFar {
    statistics: Statistics,
    /// The violation of the lowest seed.
    failed: Option<Outcome>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let threads = cli.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let work = Work { cli, taken: AtomicU64::new(0), is_cancelled: AtomicBool::new(false), so_far: Mutex::default() };
    let began = boottime();
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
        watch_over(&work, is_ended, began);
    });
    let so_far = work.so_far.into_inner().unwrap_or_else(PoisonError::into_inner);
    match report(&work.cli, &so_far, boottime().since(began)) {
        Ok(code) => code,
        // Whoever reads has gone: there is nobody to tell.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Takes one seed after the other until there are none, or a run has failed.
fn simulate(work: &Work) {
    while !work.is_cancelled.load(Ordering::Relaxed) {
        let taken = work.taken.fetch_add(1, Ordering::Relaxed);
        if taken >= work.cli.seeds {
            return;
        }
        let outcome = run(work.cli.first_seed.wrapping_add(taken), work.cli.variant, work.cli.trace);
        if work.cli.trace {
            let mut out = io::stdout().lock();
            // Whoever reads may have seen enough.
            let _ = outcome.trace.iter().try_for_each(|line| writeln!(out, "{line}"));
        }
        let mut so_far = work.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        so_far.statistics.add(&outcome.statistics);
        if outcome.violation.is_some() {
            work.is_cancelled.store(true, Ordering::Relaxed);
            let is_first = so_far.failed.as_ref().is_none_or(|failed| outcome.seed < failed.seed);
            if is_first {
                so_far.failed = Some(outcome);
            }
        }
    }
}

/// Tells of the progress until the threads have ended, and ends them when the user says so.
fn watch_over(work: &Work, mut is_ended: watch::Receiver<()>, began: Boottime) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Without a runtime there is no progress to be seen; the threads run all the same.
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.tick().await;
        loop {
            tokio::select! {
                _ = is_ended.changed() => return,
                _ = tokio::signal::ctrl_c() => work.is_cancelled.store(true, Ordering::Relaxed),
                _ = second.tick() => progress(work, boottime().since(began)),
            }
        }
    });
}

fn progress(work: &Work, took: Duration) {
    let done = work.so_far.lock().unwrap_or_else(PoisonError::into_inner).statistics.runs;
    let per_second = done * 1_000 / u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    // Standard error may be closed, which is no reason to stop.
    let _ = writeln!(io::stderr(), "{done} of {} seeds, {per_second} a second", work.cli.seeds);
}

fn report(cli: &Cli, so_far: &SoFar, took: Duration) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    write!(out, "{}", so_far.statistics)?;
    writeln!(out, "{:>15.1} seconds", took.as_secs_f64())?;
    let Some(failed) = &so_far.failed else {
        let is_whole = so_far.statistics.runs >= cli.seeds;
        writeln!(
            out,
            "{}",
            if is_whole { "no promise was broken" } else { "interrupted; no promise was broken so far" }
        )?;
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(violation) = &failed.violation {
        writeln!(out, "seed {}: {violation}", failed.seed)?;
    }
    let variant = cli.variant.map(|variant| format!(" --variant {variant}")).unwrap_or_default();
    writeln!(
        out,
        "to see it again: cargo run --release -p key-authority-coherence --bin simulate -- --first-seed {} --seeds 1{variant} --trace",
        failed.seed
    )?;
    Ok(ExitCode::FAILURE)
}
