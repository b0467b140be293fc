//! A short run of the simulation. The long form is `cargo run --release -p key-authority-coherence --bin simulate`.

use key_authority_coherence::{Statistics, Variant, run};

/// The number of seeds for the protocol.
const SEEDS: u64 = 3_000;
/// The number of seeds within which an unsafe variant must fail.
const VARIANT_SEEDS: u64 = 100;

#[test]
fn every_promise_holds_and_every_event_occurs() {
    let mut statistics = Statistics::default();
    for seed in 1..=SEEDS {
        let outcome = run(seed, None, false);
        assert_eq!(outcome.violation, None, "seed {seed}");
        statistics.add(&outcome.statistics);
    }
    assert_eq!(statistics.never(), None, "a simulation without these events proves nothing:\n{statistics}");
    // Each run must have confirmed changes, some lapsed ones, and many Verifies that race with revocations.
    assert!(statistics.confirmed > 5 * SEEDS, "{statistics}");
    assert!(statistics.lapsed > SEEDS / 2, "{statistics}");
    assert!(statistics.racing > 50 * SEEDS, "{statistics}");
    assert!(statistics.racing_accepted > 20 * SEEDS, "{statistics}");
}

#[test]
fn each_unsafe_variant_causes_its_violation() {
    for variant in Variant::ALL {
        let violation = (1..=VARIANT_SEEDS).find_map(|seed| run(seed, Some(variant), false).violation);
        let kind = violation.map(|violation| violation.kind);
        assert_eq!(kind, Some(variant.breaks()), "{variant}: not within {VARIANT_SEEDS} seeds");
    }
}

#[test]
fn a_seed_reproduces_its_run() {
    for seed in [1, 2, 3, 1_000_003] {
        let first = run(seed, None, true);
        assert_eq!(first, run(seed, None, true), "seed {seed}");
        assert_eq!(first.hash, run(seed, None, false).hash, "seed {seed}: tracing changes the run");
        assert_ne!(first.hash, run(seed + 1, None, false).hash);
    }
}
