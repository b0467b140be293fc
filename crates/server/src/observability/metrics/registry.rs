//! The registry with every series of the process.

use std::sync::{Arc, OnceLock};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::calls::CallMetrics;
use super::connections::ConnectionMetrics;
use super::exposition::{Format, to_prometheus};
use super::replica::ReplicaMetrics;
use super::requests::RequestMetrics;
use super::values::{ReasonLabel, set};
use crate::wire::methods::MethodTable;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabel {
    level: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UrgencyLabel {
    urgency: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabel {
    pool: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    version: &'static str,
}

type Refresh = Box<dyn Fn(&Metrics) + Send + Sync>;

/// All series of the process.
pub struct Metrics {
    registry: Registry,
    calls: CallMetrics,
    requests: RequestMetrics,
    verdicts: Vec<Counter>,
    /// The series of connections.
    pub connections: ConnectionMetrics,
    dropped_lines: Family<LevelLabel, Counter>,
    admin_refused: Family<ReasonLabel, Counter>,
    /// The series of the replica.
    pub replica: ReplicaMetrics,
    statements: Family<PoolLabel, Counter>,
    waiting_changes: Family<UrgencyLabel, Gauge>,
    refresh: OnceLock<Refresh>,
}

impl Metrics {
    /// Makes the registry with every series.
    ///
    /// `methods` bounds the labels of the `grpc_server_*` series. `verdicts` are the label values of
    /// `keyauthority_verify_total`, in the order of the verdicts' numbers.
    #[must_use]
    pub fn new(version: &'static str, methods: &MethodTable, verdicts: &[&'static str]) -> Self {
        let mut registry = Registry::default();
        let calls = CallMetrics::new(methods, &mut registry);
        let requests = RequestMetrics::register(&mut registry);

        let verify = Family::<VerdictLabel, Counter>::default();
        registry.register("keyauthority_verify", "Verifications answered, by verdict", verify.clone());
        let verdicts = verdicts.iter().map(|verdict| verify.get_or_create_owned(&VerdictLabel { verdict })).collect();

        let connections = ConnectionMetrics::register(&mut registry);
        let dropped_lines = Family::<LevelLabel, Counter>::default();
        registry.register(
            "keyauthority_log_lines_dropped",
            "Log lines dropped because standard error was not read; `important` are warnings and errors",
            dropped_lines.clone(),
        );
        let admin_refused = Family::<ReasonLabel, Counter>::default();
        registry.register(
            "keyauthority_admin_refused",
            "Admin calls refused, by the reason given to the caller",
            admin_refused.clone(),
        );
        let waiting_changes = Family::<UrgencyLabel, Gauge>::default();
        registry.register(
            "keyauthority_waiting_changes",
            "Changes queued in this process, by urgency; ending ones (revoke, disable, suspend) go first",
            waiting_changes.clone(),
        );
        let statements = Family::<PoolLabel, Counter>::default();
        registry.register(
            "keyauthority_storage_statements",
            "Statements sent to the database, by pool; Verify sends none",
            statements.clone(),
        );
        let replica = ReplicaMetrics::register(&mut registry);
        registry.register("keyauthority_build", "The running build", Info::new(VersionLabel { version }));

        Self {
            registry,
            calls,
            requests,
            verdicts,
            connections,
            dropped_lines,
            admin_refused,
            replica,
            statements,
            waiting_changes,
            refresh: OnceLock::new(),
        }
    }

    /// Returns the `grpc_server_*` series.
    #[must_use]
    pub fn calls(&self) -> CallMetrics {
        self.calls.clone()
    }

    /// Returns the series of HTTP requests.
    #[must_use]
    pub(crate) fn requests(&self) -> RequestMetrics {
        self.requests.clone()
    }

    /// Counts `count` verifications with the verdict of this number. An unknown number is not counted.
    pub fn verified(&self, verdict: usize, count: u64) {
        if let Some(counter) = self.verdicts.get(verdict) {
            counter.inc_by(count);
        }
    }

    /// Counts a refused admin call. `reason` is an `ErrorInfo.reason` from the closed list, never text from a caller.
    pub fn admin_refused(&self, reason: &'static str) {
        self.admin_refused.get_or_create_owned(&ReasonLabel { reason }).inc();
    }

    /// Sets the numbers of dropped log lines: warnings and errors, and others.
    pub fn set_dropped_lines(&self, counts: [usize; 2]) {
        for (level, count) in ["important", "other"].into_iter().zip(counts) {
            set(&self.dropped_lines.get_or_create_owned(&LevelLabel { level }), count as u64);
        }
    }

    /// Sets the number of statements that a pool has sent.
    pub fn set_statements(&self, pool: &'static str, statements: u64) {
        set(&self.statements.get_or_create_owned(&PoolLabel { pool }), statements);
    }

    /// Sets the number of queued changes: ending ones and ordinary ones.
    pub fn set_waiting_changes(&self, (ending, ordinary): (usize, usize)) {
        for (urgency, count) in [("ending", ending), ("ordinary", ordinary)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.waiting_changes.get_or_create_owned(&UrgencyLabel { urgency }).set(count);
        }
    }

    /// Sets a function that runs at each scrape, before the text is written. It updates the gauges, so that no task
    /// needs a timer for them. The first call wins.
    pub fn on_scrape(&self, refresh: impl Fn(&Self) + Send + Sync + 'static) {
        let _ = self.refresh.set(Box::new(refresh));
    }

    /// Encodes all series.
    ///
    /// # Errors
    /// When a series cannot be formatted, which is a defect in its label type.
    pub fn encode(&self, format: Format) -> Result<String, std::fmt::Error> {
        if let Some(refresh) = self.refresh.get() {
            refresh(self);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(match format {
            Format::OpenMetrics => text,
            Format::Prometheus => to_prometheus(&text),
        })
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Shared metrics.
pub type SharedMetrics = Arc<Metrics>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_promised_names() {
        let metrics = Metrics::new("1.2.3", &MethodTable::default(), &["unspecified", "valid"]);
        metrics.verified(1, 3);
        metrics.verified(99, 1);
        metrics.admin_refused("PERMISSION_DENIED");
        metrics.connections.rejected(crate::observability::metrics::ConnectionRejected::AtLimit);
        metrics.on_scrape(|metrics| metrics.set_statements("requests", 7));
        let open = metrics.connections.opened();
        let text = metrics.encode(Format::OpenMetrics).unwrap();
        for line in [
            "keyauthority_verify_total{verdict=\"valid\"} 3",
            "keyauthority_verify_total{verdict=\"unspecified\"} 0",
            "keyauthority_admin_refused_total{reason=\"PERMISSION_DENIED\"} 1",
            "keyauthority_connections_refused_total{reason=\"at_limit\"} 1",
            "keyauthority_connections_refused_total{reason=\"tls\"} 0",
            "keyauthority_propagation_seconds_count{outcome=\"lapsed\"} 0",
            "keyauthority_connections 1",
            "keyauthority_storage_statements_total{pool=\"requests\"} 7",
            "keyauthority_lease_remaining_seconds 0.0",
            "keyauthority_held_tokens 0",
            "keyauthority_build_info{version=\"1.2.3\"} 1",
            "keyauthority_resident_keys 0",
            "keyauthority_revision 0",
            "keyauthority_applied_revision 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
        }
        drop(open);
        assert!(metrics.encode(Format::Prometheus).unwrap().contains("keyauthority_connections 0"));
    }
}
