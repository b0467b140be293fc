//! What a listener allows, and the errors of what it serves.

use std::time::Duration;

/// The error of a service below a listener.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What one listener allows. Each listener counts for itself, so that a flood on one leaves the other its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; one more is closed at once.
    pub max_connections: usize,
    /// Time for the TLS handshake and the client's preface together.
    pub preface_timeout: Duration,
    /// Age at which a connection is asked to end, spread by ± 10 %.
    pub max_connection_age: Duration,
    /// Calls in flight on one connection.
    pub max_streams_per_connection: u32,
}
