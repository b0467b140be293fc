//! Why the server does not start, or stops.

use std::io;
use std::net::SocketAddr;

use key_authority_replica::agreement::AgreementError;
use key_authority_replica::replicator::{EndError, StartError};
use key_authority_storage::sqlite_file::SqliteFileError;
use prost_reflect::DescriptorError;
use tokio::task::JoinError;

use super::bootstrap::BootstrapError;
use super::config::twin;
use super::routes::ReflectionError;
use super::startup::StartupError;
use crate::http::ApiError;
use crate::transport::tls::TlsError;

/// Why the server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The authority secret or the database cannot be used.
    #[error(transparent)]
    Startup(#[from] StartupError),
    /// Another program replaced the `SQLite` file.
    #[error(transparent)]
    SqliteFile(#[from] SqliteFileError),
    /// The replicas do not agree on a lease.
    #[error(transparent)]
    LeaseTimings(#[from] AgreementError),
    /// The first root key cannot be made.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// A certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be bound.
    #[error("cannot bind --{flag} {address}{}", advice(flag, .source))]
    Bind {
        /// The flag.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The replicator's thread cannot be started.
    #[error(transparent)]
    Replicator(#[from] StartError),
    /// The replicator ended while the server ran.
    #[error(transparent)]
    ReplicatorEnded(#[from] EndError),
    /// The task of a listener panicked.
    #[error("a listener ended while the server ran")]
    Listener(#[source] JoinError),
    /// A built-in descriptor set does not decode.
    #[error("cannot set up reflection")]
    Reflection(#[from] ReflectionError),
    /// A built-in descriptor set does not decode.
    #[error("cannot read the list of methods")]
    Methods(#[from] prost::DecodeError),
    /// A built-in descriptor set cannot be read.
    #[error("cannot read the types of requests")]
    RequestTypes(#[source] DescriptorError),
    /// A built-in descriptor set cannot be read.
    #[error("cannot set up the HTTP door")]
    Api(#[from] ApiError),
}

/// Returns a hint for an address that cannot be bound.
fn advice(flag: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let twin = twin(flag);
            format!(" (another program uses this port; stop it, or set --{flag} or {twin} to another port)")
        }
        io::ErrorKind::AddrNotAvailable => {
            " (this machine has no such address; 0.0.0.0 means all of its addresses)".into()
        }
        _ => String::new(),
    }
}
