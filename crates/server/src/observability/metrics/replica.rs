//! The series of one replica: its index, its lease, and the propagation of changes.

use std::time::Duration;

use key_authority_replica::ReplicaState;
use key_authority_replica::protocol::wait::PropagationState;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::histogram::DurationHistogram;
use super::values::{SecondsGauge, set};

#[derive(Debug, Clone, PartialEq, Eq, Hash, prometheus_client::encoding::EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

const CONFIRMED: &str = "confirmed";
const LAPSED: &str = "lapsed";
const PENDING: &str = "pending";
const OUTCOMES: [&str; 3] = [CONFIRMED, LAPSED, PENDING];

/// The series of a replica.
#[derive(Debug)]
pub struct ReplicaMetrics {
    resident_keys: Gauge,
    revision: Gauge,
    applied_revision: Gauge,
    applied_lag: Gauge,
    lease_remaining: SecondsGauge,
    longest_silence: SecondsGauge,
    replicas: Gauge,
    held_tokens: Gauge,
    missing_secret_version: Gauge,
    storage_ready: Gauge,
    refused: Counter,
    fenced: Counter,
    went_back: Counter,
    clock_steps: Counter,
    clock_ahead: SecondsGauge,
    propagation: Family<OutcomeLabel, DurationHistogram>,
}

impl ReplicaMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(format!("keyauthority_{name}"), help, gauge.clone());
            gauge
        };
        let resident_keys = gauge("resident_keys", "Keys in memory, of every state");
        let revision = gauge("revision", "Newest revision that this replica has read from the log");
        let applied_revision = gauge("applied_revision", "Newest revision that this replica has applied");
        let applied_lag = gauge("applied_lag_revisions", "Revisions that this replica has read but not applied yet");
        let replicas = gauge("replicas", "Replicas in the registry, including this one");
        let held_tokens =
            gauge("held_tokens", "Quarantined tokens: they had ended before the database went back; see AcceptRestore");
        let missing_secret_version = gauge(
            "missing_secret_version",
            "Version of the authority secret that tokens have and the secret file of this replica lacks, or 0",
        );
        let storage_ready =
            gauge("storage_ready", "1 if the database answers and the last heartbeat could be written, else 0");
        let mut seconds = |name: &str, help: &str| {
            let gauge = SecondsGauge::default();
            registry.register(format!("keyauthority_{name}_seconds"), help, gauge.clone());
            gauge
        };
        let lease_remaining =
            seconds("lease_remaining", "Remaining time for which this replica may answer from memory");
        let longest_silence =
            seconds("longest_silence", "Time since the last heartbeat of the replica that has been silent the longest");
        let clock_ahead = seconds(
            "clock_ahead",
            "How far the authority's time, which decides expiry, is ahead of the database's clock",
        );
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(format!("keyauthority_{name}"), help, counter.clone());
            counter
        };
        let refused =
            counter("refused_without_lease", "Questions answered UNAVAILABLE because this replica had no lease");
        let fenced = counter("replicas_fenced", "Silent replicas that this one has removed from the registry");
        let went_back = counter("database_went_back", "Times that the database's log was found to have gone back");
        let clock_steps =
            counter("clock_steps", "Steps of the database's clock by more than a second, in either direction");
        let propagation = register_propagation(registry);
        Self {
            resident_keys,
            revision,
            applied_revision,
            applied_lag,
            lease_remaining,
            longest_silence,
            replicas,
            held_tokens,
            missing_secret_version,
            storage_ready,
            refused,
            fenced,
            went_back,
            clock_steps,
            clock_ahead,
            propagation,
        }
    }

    /// Records how long a change waited for its propagation. `None` means that the caller's deadline came first.
    pub fn waited(&self, state: Option<PropagationState>, waited: Duration) {
        let outcome = match state {
            Some(PropagationState::Confirmed) => CONFIRMED,
            Some(PropagationState::Lapsed) => LAPSED,
            None => PENDING,
        };
        self.propagation.get_or_create_owned(&OutcomeLabel { outcome }).observe(waited);
    }

    /// Updates the series from the state of the replica.
    pub fn refresh(&self, replica: &ReplicaState) {
        let (head, applied) = (replica.head().0, replica.applied().0);
        let silences = replica.silences();
        self.resident_keys.set(number(replica.index().keys()));
        self.revision.set(head);
        self.applied_revision.set(applied);
        self.applied_lag.set((head - applied).max(0));
        self.lease_remaining.set(replica.lease_remaining().as_secs_f64());
        self.longest_silence.set(silences.values().max().copied().unwrap_or_default().as_secs_f64());
        self.replicas.set(number(silences.len()));
        self.held_tokens.set(number(replica.index().quarantined()));
        self.missing_secret_version.set(replica.index().missing_secret().map_or(0, |missing| missing.version.into()));
        self.storage_ready.set(replica.storage_answers().into());
        set(&self.refused, replica.refused());
        set(&self.fenced, replica.fenced());
        set(&self.went_back, replica.log_divergences());
        set(&self.clock_steps, replica.clock_steps());
        self.clock_ahead.set(replica.clock_ahead().as_secs_f64());
    }
}

fn register_propagation(registry: &mut Registry) -> Family<OutcomeLabel, DurationHistogram> {
    let propagation = Family::<OutcomeLabel, DurationHistogram>::default();
    // Each series starts at 0: Prometheus sees no increase in a series that first appears at 1.
    for outcome in OUTCOMES {
        propagation.get_or_create_owned(&OutcomeLabel { outcome });
    }
    registry.register(
        "keyauthority_propagation_seconds",
        "Time from a commit until every replica enforced the change, by outcome: confirmed, lapsed, or pending at \
         the caller's deadline",
        propagation.clone(),
    );
    propagation
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
