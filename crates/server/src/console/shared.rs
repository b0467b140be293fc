//! What all requests to the console share.

use std::sync::Arc;
use std::time::Duration;

use key_authority_domain::access::Network;
use key_authority_domain::secret::Keyring;
use key_authority_replica::ReplicaState;

use super::session::EndedSessions;
use super::throttle::Throttle;
use crate::admin::service::AdminService;
use crate::auth::call::CallAuthorizer;

/// The longest wait for propagation. A page that takes longer looks broken; it offers to wait on instead.
const PATIENCE_MAX: Duration = Duration::from_secs(15);

/// The components and settings of the console.
pub(crate) struct ConsoleSettings {
    pub(crate) admin: AdminService,
    pub(crate) calls: CallAuthorizer,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) replica: Arc<ReplicaState>,
    /// Whether the listener uses TLS.
    pub(crate) is_tls: bool,
    /// The networks of proxies whose headers about the visitor are believed.
    pub(crate) trusted_proxies: Vec<Network>,
    /// The time limit of a request.
    pub(crate) request_timeout: Duration,
}

/// What all requests share.
pub(super) struct Shared {
    pub(super) admin: AdminService,
    pub(super) calls: CallAuthorizer,
    pub(super) keyring: Arc<Keyring>,
    pub(super) replica: Arc<ReplicaState>,
    pub(super) is_tls: bool,
    pub(super) trusted_proxies: Vec<Network>,
    /// The time limit of calls.
    pub(super) patience: Duration,
    pub(super) failures: Throttle,
    pub(super) ended: EndedSessions,
}

impl Shared {
    pub(super) fn new(settings: ConsoleSettings) -> Self {
        let ConsoleSettings { admin, calls, keyring, replica, is_tls, trusted_proxies, request_timeout } = settings;
        Self {
            admin,
            calls,
            keyring,
            replica,
            is_tls,
            trusted_proxies,
            patience: request_timeout.min(PATIENCE_MAX),
            failures: Throttle::default(),
            ended: EndedSessions::default(),
        }
    }
}
