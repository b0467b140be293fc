//! The short form of fuzzing, for the gate: every file of the corpora, and seeded mutations of them. The long form is
//! `scripts/fuzz`.
//!
//! `KEY_AUTHORITY_SEED` repeats a run. An input that breaks a rule is printed; keep it as a file in the corpus.
#![cfg(test)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use key_authority_fuzz_targets::{Mutator, TARGETS, Target};
use key_authority_testkit::rng::SeededRng;

/// Mutated inputs for each target.
const MUTATIONS: usize = 20_000;

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap()
}

fn names_in(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(fuzz_folder().join(folder)).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn run(target: &Target, input: &[u8], origin: &str) {
    let outcome = catch_unwind(AssertUnwindSafe(|| target.run(input)));
    assert!(outcome.is_ok(), "{} breaks a rule on {origin}: \"{}\"", target.name, input.escape_ascii());
}

fn replay(name: &str) {
    let target = target(name);
    let folder = format!("corpus/{name}");
    let mut corpus = Vec::new();
    for file in names_in(&folder) {
        let input = std::fs::read(fuzz_folder().join(&folder).join(&file)).unwrap();
        run(target, &input, &file);
        corpus.push(input);
    }
    assert!(!corpus.is_empty(), "fuzz/{folder} is empty");
    let seed =
        std::env::var("KEY_AUTHORITY_SEED").ok().map(|text| text.parse::<u64>().expect("KEY_AUTHORITY_SEED: a number"));
    let seed = seed.unwrap_or_else(SeededRng::random_seed);
    println!("KEY_AUTHORITY_SEED={seed}");
    let mut mutator = Mutator::new(seed, &corpus, target.dictionary);
    for number in 0..MUTATIONS {
        run(target, &mutator.next_input(), &format!("mutation {number} of seed {seed}"));
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_replayed_and_fuzzed() {
            let mut replayed = vec![$(stringify!($name)),*];
            replayed.sort_unstable();
            let mut targets: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            targets.sort_unstable();
            assert_eq!(replayed, targets);
            assert_eq!(names_in("corpus"), targets);
            let programs: Vec<_> = names_in("fuzz_targets");
            assert_eq!(programs, targets.iter().map(|name| format!("{name}.rs")).collect::<Vec<_>>());
        }
    };
}

replays! {
    authorization batch_verify_request check database_url grpc_frames import_file import_keys page_token token verify
    verify_request verify_stream_request
}

#[test]
fn the_corpora_have_the_seeds_that_the_targets_make() {
    for target in TARGETS {
        let dictionary = fuzz_folder().join("dictionaries").join(format!("{}.dict", target.name));
        let is_written = std::fs::read_to_string(&dictionary).is_ok_and(|kept| kept == target.dictionary_file());
        assert!(is_written, "{}: run the example write_seeds", dictionary.display());
        for (number, seed) in target.seeds().into_iter().enumerate() {
            let file = fuzz_folder().join("corpus").join(target.name).join(format!("seed-{number:02}"));
            let is_written = std::fs::read(&file).is_ok_and(|kept| kept == seed);
            assert!(is_written, "{}: run the example write_seeds", file.display());
        }
    }
}
