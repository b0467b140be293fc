//! An exhaustive model of the coherence protocol in `docs/coherence.md`: every interleaving of statements, memory
//! accesses, messages and clock ticks, on the functions of production (`Lease::on`, `may_answer`, `Observed`, `Wait`).
//!
//! Time is stored as ages, so the number of states is finite. A complete search is a proof for its time constants, not
//! a test up to a depth. One replica and one other change represent any number of them: a replica writes its own row
//! only, and a change returns only when every row allows it. So the steps of all other replicas can be removed from any
//! history in which one replica wrongly accepts a key, and the rest is still a valid history. With two replicas there
//! are too many states for a proof; that search has a limited depth.
//!
//! The model omits what cannot affect safety: a row without a replica and a late INSERT, which can only make a change
//! wait; and a Verify that starts while the change is in flight, which may accept or deny.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that panics has failed, which is all that it should do"
)]

#[path = "model/change.rs"]
mod change;
#[path = "model/moves.rs"]
mod moves;
#[path = "model/protocol.rs"]
mod protocol;
#[path = "model/replica.rs"]
mod replica;
#[path = "model/rules.rs"]
mod rules;
#[path = "model/world.rs"]
mod world;

use std::collections::BTreeSet;

use key_authority_replica::clock::boottime;
use protocol::{ACCEPTED, CONFIRMED, FENCED, Protocol, SAFE, TIMED_OUT};
use rules::{Besides, Flaw, Rules};
use stateright::{Checker as _, CheckerBuilder, HasDiscoveries, Model as _};

/// Explores every state: all invariants hold, and of the reachable outcomes exactly `expected` occur.
fn assert_holds(name: &str, rules: Rules, expected: &[&str]) {
    let begun = boottime();
    let checker = builder(rules).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = checker.discoveries();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    eprintln!("{name}: {states} states, {} steps, {depth} deep, {:?}", checker.state_count(), boottime().since(begun));
    let names: BTreeSet<_> = found.keys().copied().collect();
    let histories: Vec<_> = found.into_iter().filter(|(name, _)| !expected.contains(name)).collect();
    assert_eq!(names, expected.iter().copied().collect(), "{histories:#?}");
    assert!(checker.is_done(), "the search is incomplete");
}

/// Explores until a revoked key is wrongly accepted.
fn assert_breaks(name: &str, rules: Rules) {
    let begun = boottime();
    let until = HasDiscoveries::AllOf(BTreeSet::from([SAFE]));
    let checker = builder(rules).finish_when(until).spawn_bfs().join();
    let states = checker.unique_state_count();
    let history = checker.discovery(SAFE).map(stateright::Path::into_actions);
    let history = history.unwrap_or_else(|| panic!("{name}: no violation in {states} states"));
    eprintln!(
        "{name}: violated in {} steps, {states} states, {:?}: {history:?}",
        history.len(),
        boottime().since(begun)
    );
}

fn builder(rules: Rules) -> CheckerBuilder<Protocol> {
    Protocol::new(rules).checker()
}

fn flawed(flaw: Flaw) -> Rules {
    Rules { flaw: Some(flaw), ..Rules::PRODUCTION }
}

#[test]
fn the_protocol_is_safe_and_live_with_another_change_before() {
    let rules = Rules { besides: Besides::ChangeBefore, ..Rules::PRODUCTION };
    assert_holds("another change before", rules, &[ACCEPTED, CONFIRMED, FENCED, TIMED_OUT]);
}

#[test]
fn the_protocol_is_safe_and_live_with_another_change_after() {
    let rules = Rules { besides: Besides::ChangeAfter, ..Rules::PRODUCTION };
    assert_holds("another change after", rules, &[ACCEPTED, CONFIRMED, FENCED, TIMED_OUT]);
}

#[test]
fn the_protocol_is_safe_and_live_with_late_updates() {
    let rules = Rules { besides: Besides::StrayUpdates, ..Rules::PRODUCTION };
    assert_holds("with stray updates", rules, &[ACCEPTED, CONFIRMED, FENCED, TIMED_OUT]);
}

#[test]
fn the_protocol_is_safe_and_live_when_the_wait_exceeds_the_trust() {
    let rules = Rules { wait: 3, ..Rules::PRODUCTION };
    assert_holds("with slack", rules, &[ACCEPTED, CONFIRMED, FENCED, TIMED_OUT]);
}

#[test]
fn the_protocol_is_safe_and_live_without_a_time_limit_of_the_wait() {
    let rules = Rules { ends_by_time: false, ..Rules::PRODUCTION };
    assert_holds("without a limit of time", rules, &[ACCEPTED, CONFIRMED, FENCED]);
}

#[test]
fn two_replicas_are_safe_up_to_a_limited_depth() {
    let begun = boottime();
    let rules = Rules { seats: 2, is_settled: true, ..Rules::PRODUCTION };
    let until = HasDiscoveries::AnyFailures;
    let checker = builder(rules).finish_when(until).target_max_depth(14).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    eprintln!(
        "two replicas: {states} states, {} steps, {depth} deep, {:?}",
        checker.state_count(),
        boottime().since(begun)
    );
    let found: BTreeSet<_> = checker.discoveries().into_keys().collect();
    assert_eq!(found, BTreeSet::from([ACCEPTED, CONFIRMED, FENCED, TIMED_OUT]));
}

#[test]
fn without_a_lease_a_revoked_key_is_accepted() {
    assert_breaks("no lease", flawed(Flaw::NoLease));
}

#[test]
fn a_silent_row_must_be_removed() {
    assert_breaks("no fence", flawed(Flaw::NoFence));
}

#[test]
fn a_lease_must_count_from_before_the_heartbeat() {
    assert_breaks("lease from the reply", flawed(Flaw::LeaseFromReply));
}

#[test]
fn an_update_that_hits_no_row_must_end_the_lease() {
    assert_breaks("missed update ignored", flawed(Flaw::MissedUpdateIgnored));
}

#[test]
fn a_revision_must_be_applied_before_it_is_confirmed() {
    assert_breaks("confirmed before applied", flawed(Flaw::ConfirmBeforeApply));
}

#[test]
fn a_lease_must_not_be_renewed_without_reading_the_log() {
    assert_breaks("renewal without reading", flawed(Flaw::RenewalWithoutReading));
}

#[test]
fn the_log_must_not_be_read_from_a_follower() {
    assert_breaks("read from a follower", flawed(Flaw::ReadFromFollower));
}

#[test]
fn revisions_must_not_come_from_a_sequence() {
    let rules = Rules { besides: Besides::ChangeBetween, ..flawed(Flaw::RevisionFromSequence) };
    assert_breaks("revisions from a sequence", rules);
}

#[test]
fn a_change_must_wait_for_a_joining_replica() {
    assert_breaks("joining ignored", flawed(Flaw::JoiningIgnored));
}

#[test]
fn a_repeated_call_must_wait_again() {
    assert_breaks("a repeated call returns at once", flawed(Flaw::RepeatedCallReturnsAtOnce));
}

#[test]
fn a_silent_row_must_be_compared_when_it_is_removed() {
    assert_breaks("fence without compare", flawed(Flaw::FenceWithoutCompare));
}

#[test]
fn the_trust_must_not_exceed_the_wait() {
    assert_breaks("trust outlasts the wait", Rules { trust: 3, ..Rules::PRODUCTION });
}

#[test]
fn silence_must_count_from_the_receipt_of_the_row() {
    assert_breaks("silence from sending", flawed(Flaw::SilenceFromSending));
}
