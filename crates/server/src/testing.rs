//! Items for the tests of this crate and for the benchmarks. This is not an interface: it changes with the code.

pub use crate::auth::credential::{Authentication, Authenticator};
pub use crate::auth::permit::Authorizer;
pub use crate::observability::metrics::{ConnectionCut, ConnectionRejected, Format, Metrics, SharedMetrics};
pub use crate::observability::telemetry::CallTracer;
pub use crate::program::config::{Cli, Config, ConfigMode, EMBEDDED_FILE, SECRET_FILE};
pub use crate::program::routes::DESCRIPTOR_SETS;
pub use crate::rpc::call::CallPolicy;
pub use crate::rpc::connection::ConnectionService;
pub use crate::rpc::deadline::Deadlines;
pub use crate::rpc::health::{Health, VERIFY_SERVICE, VerifyState};
pub use crate::rpc::raw::RawMethods;
pub use crate::transport::budget::ProcessBudget;
pub use crate::transport::connection::ConnectionContext;
pub use crate::transport::limits::Limits;
pub use crate::transport::listener::{Drained, Listener};
pub use crate::transport::peer::WithPeer;
pub use crate::transport::places::PlaceLimits;
pub use crate::verify::Verifier;
pub use crate::wire::methods::MethodTable;

pub mod untrusted;

/// The source of random bytes.
pub mod entropy {
    pub use crate::entropy::fill;
}

/// Making the first root key.
pub mod bootstrap {
    pub use crate::program::bootstrap::{from_file, make_private};
}

/// TLS.
pub mod tls {
    pub use crate::transport::tls::{Acceptor, Reload, TlsFiles, load};
}
