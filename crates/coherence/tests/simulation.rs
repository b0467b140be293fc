//! The simulation in short. The long form is `cargo run --release -p key-authority-coherence --bin simulate`.

use key_authority_coherence::{Statistics, Variant, run};

/// How many seeds of the protocol the short form runs.
const SEEDS: u64 = 3_000;
/// Within how many seeds a naive variant must fail.
const VARIANT_SEEDS: u64 = 100;

#[test]
fn no_promise_is_broken_and_everything_happens() {
    let mut statistics = Statistics::default();
    for seed in 1..=SEEDS {
        let outcome = run(seed, None, false);
        assert_eq!(outcome.violation, None, "seed {seed}");
        statistics.add(&outcome.statistics);
    }
    assert_eq!(statistics.never(), None, "a quiet simulation proves nothing:\n{statistics}");
    // Per run: changes that were confirmed, some that were waited out, and Verifies in the middle of both.
    assert!(statistics.confirmed > 5 * SEEDS, "{statistics}");
    assert!(statistics.lapsed > SEEDS / 2, "{statistics}");
    assert!(statistics.racing > 50 * SEEDS, "{statistics}");
    assert!(statistics.racing_accepted > 20 * SEEDS, "{statistics}");
}

#[test]
fn each_naive_variant_fails_by_the_harm_it_does() {
    for variant in Variant::ALL {
        let violation = (1..=VARIANT_SEEDS).find_map(|seed| run(seed, Some(variant), false).violation);
        let kind = violation.map(|violation| violation.kind);
        assert_eq!(kind, Some(variant.breaks()), "{variant}: not within {VARIANT_SEEDS} seeds");
    }
}

#[test]
fn a_seed_makes_the_same_run_again() {
    for seed in [1, 2, 3, 1_000_003] {
        let first = run(seed, None, true);
        assert_eq!(first, run(seed, None, true), "seed {seed}");
        assert_eq!(first.hash, run(seed, None, false).hash, "seed {seed}: looking on changes what happens");
        assert_ne!(first.hash, run(seed + 1, None, false).hash);
    }
}
