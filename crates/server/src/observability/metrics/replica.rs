//! What one replica knows, how it keeps up, and how long changes take to be over.

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
        let resident_keys = gauge("resident_keys", "Keys held in memory, of every state");
        let revision = gauge("revision", "Newest revision this replica has heard of");
        let applied_revision = gauge("applied_revision", "Newest revision this replica has applied");
        let applied_lag = gauge("applied_lag_revisions", "Revisions this replica has heard of and not applied yet");
        let replicas = gauge("replicas", "Replicas in the registry, this one included");
        let held_tokens = gauge(
            "held_tokens",
            "Tokens refused because they had ended before the database went back; see AcceptRestore",
        );
        let mut seconds = |name: &str, help: &str| {
            let gauge = SecondsGauge::default();
            registry.register(format!("keyauthority_{name}_seconds"), help, gauge.clone());
            gauge
        };
        let lease_remaining = seconds("lease_remaining", "Time for which this replica may still answer from memory");
        let longest_silence =
            seconds("longest_silence", "Time since the replica that is silent longest was last heard of");
        let clock_ahead =
            seconds("clock_ahead", "How far the time that expiry is judged by is ahead of the database's clock");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(format!("keyauthority_{name}"), help, counter.clone());
            counter
        };
        let refused = counter("refused_without_lease", "Questions answered UNAVAILABLE because the lease had ended");
        let fenced = counter("replicas_fenced", "Silent replicas that this one has removed from the registry");
        let went_back = counter("database_went_back", "Times that the database's log was found to have gone back");
        let clock_steps = counter("clock_steps", "Steps of the database's clock by more than a second, either way");
        let propagation = Family::<OutcomeLabel, DurationHistogram>::default();
        // From the start, each at 0: what first appears at 1 has not increased, as Prometheus counts.
        for outcome in OUTCOMES {
            propagation.get_or_create_owned(&OutcomeLabel { outcome });
        }
        registry.register(
            "keyauthority_propagation_seconds",
            "Time from a commit until the change was over, by outcome: confirmed, lapsed, or pending at the caller's deadline",
            propagation.clone(),
        );
        Self {
            resident_keys,
            revision,
            applied_revision,
            applied_lag,
            lease_remaining,
            longest_silence,
            replicas,
            held_tokens,
            refused,
            fenced,
            went_back,
            clock_steps,
            clock_ahead,
            propagation,
        }
    }

    /// Notes how long a change took to be over; `None`, that its caller's deadline came first.
    pub fn waited(&self, state: Option<PropagationState>, waited: Duration) {
        let outcome = match state {
            Some(PropagationState::Confirmed) => CONFIRMED,
            Some(PropagationState::Lapsed) => LAPSED,
            None => PENDING,
        };
        self.propagation.get_or_create_owned(&OutcomeLabel { outcome }).observe(waited);
    }

    /// Brings the series up to date that are kept in the view.
    pub fn refresh(&self, view: &ReplicaState) {
        let (head, applied) = (view.head().0, view.applied().0);
        let silences = view.silences();
        self.resident_keys.set(number(view.index().keys()));
        self.revision.set(head);
        self.applied_revision.set(applied);
        self.applied_lag.set((head - applied).max(0));
        self.lease_remaining.set(view.lease_remaining().as_secs_f64());
        self.longest_silence.set(silences.values().max().copied().unwrap_or_default().as_secs_f64());
        self.replicas.set(number(silences.len()));
        self.held_tokens.set(number(view.index().quarantined()));
        set(&self.refused, view.refused());
        set(&self.fenced, view.fenced());
        set(&self.went_back, view.log_divergences());
        set(&self.clock_steps, view.clock_steps());
        self.clock_ahead.set(view.clock_ahead().as_secs_f64());
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
