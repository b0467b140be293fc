//! Runs a target on seeded mutations of its corpora, on every processor: `mutate TARGET RUNS CRASHES FOLDER…`. The
//! inputs in the folders are what is mutated. There is no coverage, which guides libFuzzer and takes
//! time.
//!
//! An input that breaks a rule is written to the folder CRASHES. `KEY_AUTHORITY_SEED` repeats a run, also one that an
//! abort or an endless loop has ended.
#![expect(clippy::print_stdout, reason = "a program prints its result")]

use std::error::Error;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use key_authority_fuzz_targets::{Mutator, TARGETS, Target};
use key_authority_testkit::rng::SeededRng;

/// Inputs that a thread makes from one seed. The seeds of a run follow each other.
const BATCH: u64 = 1_000;

/// Lines of progress in a run.
const LINES: u64 = 20;

struct Run<'a> {
    target: &'static Target,
    corpus: Vec<Vec<u8>>,
    crashes: &'a Path,
    seed: u64,
    batches: u64,
    begun: AtomicU64,
    has_failed: AtomicBool,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, runs, crashes, folders @ ..] = &arguments[..] else {
        return Err("usage: mutate TARGET RUNS CRASHES FOLDER…".into());
    };
    let target = TARGETS.iter().find(|target| target.name == name).ok_or("unknown target")?;
    let seed = match std::env::var("KEY_AUTHORITY_SEED") {
        Ok(text) => text.parse()?,
        Err(_) => SeededRng::random_seed(),
    };
    let run = Run {
        target,
        corpus: inputs(folders)?,
        crashes: Path::new(crashes),
        seed,
        batches: runs.parse::<u64>()?.div_ceil(BATCH),
        begun: AtomicU64::new(0),
        has_failed: AtomicBool::new(false),
    };
    println!("KEY_AUTHORITY_SEED={seed}, {} inputs are mutated", run.corpus.len());
    let threads = thread::available_parallelism()?.get();
    let done = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| run.work())).collect();
        workers.into_iter().map(|worker| worker.join().expect("a panic of a target is caught")).sum::<u64>()
    });
    println!("stat::number_of_executed_units: {done}");
    Ok(if run.has_failed.into_inner() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Run<'_> {
    /// Runs batches until all are done or an input has broken a rule. Returns the number of inputs.
    fn work(&self) -> u64 {
        let mut done = 0;
        while !self.has_failed.load(Ordering::Relaxed) {
            let batch = self.begun.fetch_add(1, Ordering::Relaxed);
            if batch >= self.batches {
                break;
            }
            if batch > 0 && batch.is_multiple_of(self.batches.div_ceil(LINES)) {
                println!("{} of {} inputs", batch * BATCH, self.batches * BATCH);
            }
            done += self.run_batch(self.seed.wrapping_add(batch));
        }
        done
    }

    fn run_batch(&self, seed: u64) -> u64 {
        let mut mutator = Mutator::new(seed, &self.corpus, self.target.dictionary);
        for number in 1..=BATCH {
            let input = mutator.next_input();
            if catch_unwind(AssertUnwindSafe(|| self.target.run(&input))).is_err() {
                self.has_failed.store(true, Ordering::Relaxed);
                let file = self.crashes.join(format!("mutation-{seed}-{number}"));
                let written = fs::write(&file, &input);
                println!("{}: {written:?}: \"{}\"", file.display(), input.escape_ascii());
                return number;
            }
        }
        BATCH
    }
}

fn inputs(folders: &[String]) -> std::io::Result<Vec<Vec<u8>>> {
    let mut files = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(folder)? {
            files.push(entry?.path());
        }
    }
    files.sort();
    files.iter().map(fs::read).collect()
}
