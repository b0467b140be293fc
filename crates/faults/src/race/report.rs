//! The report of a race, as Markdown and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};
use key_authority_proto::v1::{Action, Verdict};
use key_authority_testkit::clock::seconds;
use serde::Serialize;

use super::history::Summary;
use super::phases::Phase;
use super::revoker::Slow;
use super::{RaceArgs, World};
use crate::cluster::Cluster;
use crate::output;
use crate::stats::Times;

/// The state after the race, when every replica is ready.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Aftermath {
    /// Verdicts at any replica other than REVOKED for revoked keys and VALID for control keys.
    wrong_verdicts: u64,
    /// Revocations without exactly one event of their `request_id`.
    wrong_events: u64,
    /// Callers that were revoked while their changes were in flight.
    revoked_callers: u64,
    /// Changes of these callers before their revocation.
    callers_changes: u64,
    /// Changes of these callers after their revocation in the log.
    late_changes: u64,
    /// The output of `audit verify`.
    audit: String,
    /// Panics in the logs of the servers.
    panics: Vec<String>,
}

impl Aftermath {
    pub(crate) async fn inspect(world: &World, cluster: &Cluster) -> Result<Self> {
        let revoked = world.revoked.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let clients = cluster.clients(&cluster.token)?;
        let mut wrong_verdicts = 0;
        for client in &clients {
            let expected = revoked.iter().map(|key| (key, Verdict::Revoked));
            let control = world.keys.control();
            for (key, verdict) in expected.chain(control.iter().map(|key| (key, Verdict::Valid))) {
                let answer = client.verify(&key.token).await.context("Verify failed after the race")?;
                wrong_verdicts += u64::from(answer.verdict() != verdict);
            }
        }
        let mut events: BTreeMap<String, u64> = BTreeMap::new();
        let first = clients.first().context("no replicas")?;
        for event in first.events().await.context("ListAuditEvents failed")? {
            if event.action() == Action::RevokeKey {
                *events.entry(event.request_id).or_default() += 1;
            }
        }
        let wrong_events = revoked.iter().filter(|key| events.get(&key.request_id) != Some(&1)).count();
        let callers = world.callers.all();
        let (mut callers_changes, mut late_changes) = (0, 0);
        for caller in &callers {
            let events = first.events_by(&caller.key_id).await.context("ListAuditEvents of a caller failed")?;
            let late = events.iter().filter(|event| event.revision > caller.revision).count();
            late_changes += late as u64;
            callers_changes += (events.len() - late) as u64;
        }
        let audit = cluster.verify_audit().await?;
        Ok(Self {
            wrong_verdicts,
            wrong_events: wrong_events as u64,
            revoked_callers: callers.len() as u64,
            callers_changes,
            late_changes,
            audit,
            panics: cluster.panics(),
        })
    }

    fn is_good(&self) -> bool {
        self.wrong_verdicts == 0
            && self.wrong_events == 0
            && self.late_changes == 0
            && self.callers_changes > 0
            && self.panics.is_empty()
    }
}

/// The report of a race.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    database: &'static str,
    seed: u64,
    replicas: u8,
    verifiers: u8,
    lease_ms: u128,
    lasted_s: f64,
    revocations: u64,
    confirmed: u64,
    lapsed: u64,
    /// Verifies that got a verdict.
    verifies: u64,
    racing_verifies: u64,
    /// Those that started after the revocation returned; only these can be stale.
    verifies_after_return: u64,
    /// The required minimum of these.
    verifies_after_return_min: u64,
    stale_acceptances: u64,
    false_denials: u64,
    /// Verifies that got no verdict.
    unavailable: u64,
    phases: BTreeMap<Phase, PhaseReport>,
    /// Retried calls for revocations, by reason.
    repeated_revocations: BTreeMap<String, u64>,
    slowest_revocations: Vec<Slow>,
    #[serde(flatten)]
    summary: Summary,
    aftermath: Aftermath,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct PhaseReport {
    times: usize,
    revocation: Option<Times>,
}

impl Report {
    pub(crate) fn new(args: &RaceArgs, seed: u64, world: &World, lasted: u64, aftermath: Aftermath) -> Self {
        let (counts, revoked) = (&world.history.counts, &world.revoked);
        let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let latency = revoked.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let of_phase = |phase| PhaseReport {
            times: world.history.phases.count(phase),
            revocation: latency.get(&phase).map(Times::of),
        };
        Self {
            database: args.database.name(),
            seed,
            replicas: args.replicas,
            verifiers: args.verifiers,
            lease_ms: args.lease.as_millis(),
            lasted_s: seconds(lasted),
            revocations: read(&revoked.returned),
            confirmed: read(&revoked.confirmed),
            lapsed: read(&revoked.lapsed),
            verifies: read(&counts.verifies),
            racing_verifies: read(&counts.racing),
            verifies_after_return: read(&counts.after_return),
            verifies_after_return_min: args.verifies_after_return(),
            stale_acceptances: read(&counts.stale_acceptances),
            false_denials: read(&counts.false_denials),
            unavailable: read(&counts.unavailable),
            phases: Phase::ALL.into_iter().map(|phase| (phase, of_phase(phase))).collect(),
            repeated_revocations: revoked.retries.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            slowest_revocations: revoked.slowest.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            summary: world.history.summary(),
            aftermath,
        }
    }

    /// Revocations that returned OK without a propagation state.
    fn without_state(&self) -> u64 {
        self.revocations.abs_diff(self.confirmed + self.lapsed)
    }

    /// Whether every promise was kept, and the race could have broken it.
    pub(crate) fn is_good(&self) -> bool {
        self.stale_acceptances == 0
            && self.false_denials == 0
            && self.without_state() == 0
            && self.verifies_after_return >= self.verifies_after_return_min
            && self.aftermath.is_good()
    }

    /// Prints it, and writes it to a file.
    pub(crate) fn publish(&self, json: Option<&Path>) -> Result<()> {
        output::publish(&self.markdown(), self, json)
    }

    fn markdown(&self) -> String {
        let mut text = format!("### Race on {}\n\n", self.database);
        let _ = writeln!(
            text,
            "{} replicas, {} verifiers, lease {} ms, {:.0} s, `--seed {}`: {}.\n\n| figure | |\n|---|---:|",
            self.replicas,
            self.verifiers,
            self.lease_ms,
            self.lasted_s,
            self.seed,
            if self.is_good() { "**every promise kept**" } else { "**BROKEN**" },
        );
        for (name, figure) in [
            ("revocations", self.revocations),
            ("… that every replica confirmed", self.confirmed),
            ("… that waited for a lease to expire", self.lapsed),
            ("… without a propagation state", self.without_state()),
            ("Verifies with a verdict", self.verifies),
            ("… that raced with a revocation", self.racing_verifies),
            ("… started after it had returned", self.verifies_after_return),
            ("… required minimum of these", self.verifies_after_return_min),
            ("**stale acceptances**", self.stale_acceptances),
            ("**false denials**", self.false_denials),
            ("Verifies without a verdict", self.unavailable),
            ("wrong verdicts after the race", self.aftermath.wrong_verdicts),
            ("revocations without exactly one event", self.aftermath.wrong_events),
            ("callers revoked during their changes", self.aftermath.revoked_callers),
            ("… changes before the revocation", self.aftermath.callers_changes),
            ("**… changes after the revocation**", self.aftermath.late_changes),
            ("panics", self.aftermath.panics.len() as u64),
        ] {
            let _ = writeln!(text, "| {name} | {figure} |");
        }
        text.push_str("\nTime from the first call to OK, including retries, by phase, in ms:\n\n");
        text.push_str("| phase | times | revocations | p50 | p90 | p99 | max |\n|---|---:|---:|---:|---:|---:|---:|\n");
        for (phase, report) in &self.phases {
            let cells = report.revocation.map_or("0 | | | |".to_owned(), |times| times.cells());
            let _ = writeln!(text, "| {} | {} | {cells} |", phase.name(), report.times);
        }
        text.push_str("\nWithout a verdict: ");
        text.push_str(&output::list(&self.summary.unanswered));
        text.push_str("  \nRetried revocations: ");
        text.push_str(&output::list(&self.repeated_revocations));
        let _ = writeln!(text, "  \nAudit log: {}", self.aftermath.audit);
        for line in self.summary.violations.iter().chain(&self.aftermath.panics) {
            let _ = writeln!(text, "- {line}");
        }
        text
    }
}
