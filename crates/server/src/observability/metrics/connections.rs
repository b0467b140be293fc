//! The series of connections: open, rejected and cut ones, and the memory that they hold.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::values::ReasonLabel;

/// Why a connection was rejected or closed before its first call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionRejected {
    /// Known callers have all places of the listener, or of the address.
    AtLimit,
    /// A stranger had to make room for a newer connection.
    Evicted,
    /// The TLS handshake and the HTTP/2 preface did not complete in time.
    TimedOut,
    /// The TLS handshake failed.
    Tls,
    /// The peer did not speak HTTP/2, or closed the connection first.
    NotHttp2,
}

impl ConnectionRejected {
    const ALL: [Self; 5] = [Self::AtLimit, Self::Evicted, Self::TimedOut, Self::Tls, Self::NotHttp2];

    /// Returns the label of the metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtLimit => "at_limit",
            Self::Evicted => "evicted",
            Self::TimedOut => "timed_out",
            Self::Tls => "tls",
            Self::NotHttp2 => "not_http2",
        }
    }
}

/// Why a connection was cut, with its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionCut {
    /// The peer did not read its responses.
    NotRead,
    /// The process held too many bytes for its peers, and this one held the most.
    LargestHolder,
    /// Calls were still in flight after the grace period that follows the maximum age.
    TooOld,
    /// The peer sent too many frames that carry no call.
    Flood,
}

impl ConnectionCut {
    const ALL: [Self; 4] = [Self::NotRead, Self::LargestHolder, Self::TooOld, Self::Flood];

    /// Returns the label of the metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRead => "not_read",
            Self::LargestHolder => "largest_holder",
            Self::TooOld => "too_old",
            Self::Flood => "flood",
        }
    }
}

/// The series of connections.
#[derive(Debug)]
pub struct ConnectionMetrics {
    open: Gauge,
    rejected: Family<ReasonLabel, Counter>,
    cut: Family<ReasonLabel, Counter>,
    held_bytes: Gauge,
    certificate_expiry: Gauge,
}

impl ConnectionMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            open: Gauge::default(),
            rejected: Family::default(),
            cut: Family::default(),
            held_bytes: Gauge::default(),
            certificate_expiry: Gauge::default(),
        };
        // Each series starts at 0: Prometheus sees no increase in a series that first appears at 1.
        for reason in ConnectionRejected::ALL {
            metrics.rejected.get_or_create_owned(&ReasonLabel { reason: reason.as_str() });
        }
        for reason in ConnectionCut::ALL {
            metrics.cut.get_or_create_owned(&ReasonLabel { reason: reason.as_str() });
        }
        registry.register(
            "keyauthority_connections",
            "Open connections of the gRPC listeners and of the HTTP door",
            metrics.open.clone(),
        );
        registry.register(
            "keyauthority_connections_refused",
            "Connections that got no place or lost it, by reason",
            metrics.rejected.clone(),
        );
        registry.register(
            "keyauthority_connections_cut",
            "Connections closed with their calls, by reason",
            metrics.cut.clone(),
        );
        registry.register_with_unit(
            "keyauthority_held",
            "Memory held for incomplete requests and unread responses",
            Unit::Bytes,
            metrics.held_bytes.clone(),
        );
        registry.register_with_unit(
            "keyauthority_tls_certificate_expiry_timestamp",
            "When the TLS certificate in use expires, since the Unix epoch; 0 without TLS",
            Unit::Seconds,
            metrics.certificate_expiry.clone(),
        );
        metrics
    }

    /// Counts a rejected connection.
    pub fn rejected(&self, reason: ConnectionRejected) {
        self.rejected.get_or_create_owned(&ReasonLabel { reason: reason.as_str() }).inc();
    }

    /// Returns how many connections were rejected for this reason.
    #[must_use]
    pub fn rejections(&self, reason: ConnectionRejected) -> u64 {
        self.rejected.get_or_create_owned(&ReasonLabel { reason: reason.as_str() }).get()
    }

    /// Counts a connection that was cut.
    pub fn cut(&self, reason: ConnectionCut) {
        self.cut.get_or_create_owned(&ReasonLabel { reason: reason.as_str() }).inc();
    }

    /// Returns how many connections were cut for this reason.
    #[must_use]
    pub fn cuts(&self, reason: ConnectionCut) -> u64 {
        self.cut.get_or_create_owned(&ReasonLabel { reason: reason.as_str() }).get()
    }

    /// Sets the number of bytes that are held for peers.
    pub fn set_held_bytes(&self, bytes: usize) {
        self.held_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Sets when the TLS certificate in use expires, in seconds since the Unix epoch; `None` without TLS.
    pub(crate) fn set_certificate_expiry(&self, seconds: Option<u64>) {
        self.certificate_expiry.set(i64::try_from(seconds.unwrap_or_default()).unwrap_or(i64::MAX));
    }

    /// Counts a connection as open until the returned value is dropped.
    #[must_use]
    pub fn opened(&self) -> OpenConnection {
        self.open.inc();
        OpenConnection(self.open.clone())
    }
}

/// One open connection in the gauge `keyauthority_connections`.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
