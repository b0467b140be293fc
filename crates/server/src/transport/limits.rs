//! The limits of a listener, and the error type of its services.

use std::time::Duration;

use super::places::PlaceLimits;

/// The error of a service behind a listener.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The limits of one listener. Each listener counts its own connections, so that a flood on one does not affect the
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The numbers of connections, in all and from one address.
    pub places: PlaceLimits,
    /// The time for the TLS handshake and the client's preface together.
    pub preface_timeout: Duration,
    /// The age at which a connection is closed gracefully, spread by ± 10 %.
    pub max_connection_age: Duration,
    /// The time that the calls of such a connection have to complete.
    pub max_connection_age_grace: Duration,
    /// The maximum number of calls in flight on one connection.
    pub max_streams_per_connection: u32,
}
