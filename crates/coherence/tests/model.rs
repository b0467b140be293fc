//! The coherence protocol of `docs/coherence.md`, explored: every interleaving of single statements, accesses to memory,
//! messages and ticks of the clock, over the functions that production runs (`Lease::on`, `may_answer`, `Observed`, `Wait`).
//!
//! Because time is kept as ages there are finitely many states, and a search that came to its end is a proof for its
//! lengths of time, not a test up to some depth. One replica and a change of something else stand for any number: a
//! replica touches no row but its own, and a change returns only when every row allows it, so that what all others did can
//! be left out of any history in which one of them accepts what it must not, and the rest still is one. With two replicas
//! there are too many states for a proof; that search goes as deep as there is time for.
//!
//! What does not change the outcome is left out: a row whose replica is gone and an INSERT that arrives late, which can
//! only make a change wait; and a Verify invoked while the change is on its way, which may decide either way.

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

/// Explores all there is: nothing that must hold is broken, and of what can happen exactly `expected` does.
fn assert_holds(name: &str, rules: Rules, expected: &[&str]) {
    let begun = boottime();
    let checker = builder(rules).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = checker.discoveries();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    eprintln!("{name}: {states} states, {} steps, {depth} deep, {:?}", checker.state_count(), boottime().since(begun));
    let names: BTreeSet<_> = found.keys().copied().collect();
    let histories: Vec<_> = found.into_iter().filter(|(name, _)| !expected.contains(name)).collect();
    assert_eq!(names, expected.iter().copied().collect(), "{histories:#?}");
    assert!(checker.is_done(), "the search did not come to its end");
}

/// Explores until a key is accepted that must not be.
fn assert_breaks(name: &str, rules: Rules) {
    let begun = boottime();
    let until = HasDiscoveries::AllOf(BTreeSet::from([SAFE]));
    let checker = builder(rules).finish_when(until).spawn_bfs().join();
    let states = checker.unique_state_count();
    let history = checker.discovery(SAFE).map(stateright::Path::into_actions);
    let history = history.unwrap_or_else(|| panic!("{name}: nothing is wrong in {states} states"));
    eprintln!("{name}: broken in {} steps, {states} states, {:?}: {history:?}", history.len(), boottime().since(begun));
}

fn builder(rules: Rules) -> CheckerBuilder<Protocol> {
    Protocol::new(rules).checker()
}

fn flawed(flaw: Flaw) -> Rules {
    Rules { flaw: Some(flaw), ..Rules::OURS }
}

#[test]
fn the_protocol_as_we_run_it_is_safe_and_ends_when_another_change_comes_first() {
    let rules = Rules { besides: Besides::ChangeBefore, ..Rules::OURS };
    assert_holds("another change before", rules, &[ACCEPTED, CONFIRMED, FENCED, TIMED_OUT]);
}

#[test]
fn the_protocol_as_we_run_it_is_safe_and_ends_when_another_change_comes_after() {
    let rules = Rules { besides: Besides::ChangeAfter, ..Rules::OURS };
    assert_holds("another change after", rules, &[ACCEPTED, CONFIRMED, FENCED, TIMED_OUT]);
}

#[test]
fn an_update_that_was_given_up_may_arrive_later() {
    let rules = Rules { besides: Besides::StrayUpdates, ..Rules::OURS };
    assert_holds("with stray updates", rules, &[ACCEPTED, CONFIRMED, FENCED, TIMED_OUT]);
}

#[test]
fn it_is_safe_with_slack_between_trusting_and_waiting() {
    let rules = Rules { wait: 3, ..Rules::OURS };
    assert_holds("with slack", rules, &[ACCEPTED, CONFIRMED, FENCED, TIMED_OUT]);
}

#[test]
fn it_is_safe_and_ends_when_time_alone_ends_no_wait() {
    let rules = Rules { ends_by_time: false, ..Rules::OURS };
    assert_holds("without a limit of time", rules, &[ACCEPTED, CONFIRMED, FENCED]);
}

#[test]
fn two_replicas_are_safe_as_far_as_we_look() {
    let begun = boottime();
    let rules = Rules { seats: 2, is_settled: true, ..Rules::OURS };
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
fn a_silent_row_that_is_not_removed_comes_back() {
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
fn what_is_confirmed_must_be_applied() {
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
fn a_replica_that_joins_must_be_waited_for() {
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
fn trust_must_not_outlast_the_wait() {
    assert_breaks("trust outlasts the wait", Rules { trust: 3, ..Rules::OURS });
}

#[test]
fn silence_must_count_from_when_the_row_was_received() {
    assert_breaks("silence from sending", flawed(Flaw::SilenceFromSending));
}
