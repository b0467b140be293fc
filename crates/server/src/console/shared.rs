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
use crate::auth::portal::PortalUser;
use crate::keyed_semaphore::KeyedSemaphore;

/// The longest wait for propagation. A page that takes longer looks broken; it offers to wait on instead.
const PATIENCE_MAX: Duration = Duration::from_secs(15);
/// The maximum number of requests of one portal user at a time. All users of a product share what its backend may use
/// of this replica.
const USER_REQUESTS_MAX: usize = 4;
/// The maximum number of requests of one portal user that wait. A browser has about as many on one connection.
const USER_WAITING_MAX: usize = 100;

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
    /// The time limit of a request.
    pub(super) request_timeout: Duration,
    /// The time limit of its calls.
    pub(super) patience: Duration,
    pub(super) failures: Throttle,
    pub(super) ended: EndedSessions,
    /// The requests of each portal user that are in progress.
    pub(super) portal_requests: KeyedSemaphore<PortalUser>,
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
            request_timeout,
            patience: request_timeout.min(PATIENCE_MAX),
            failures: Throttle::default(),
            ended: EndedSessions::default(),
            portal_requests: KeyedSemaphore::new(USER_REQUESTS_MAX, USER_WAITING_MAX),
        }
    }
}
