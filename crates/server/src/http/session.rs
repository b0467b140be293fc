//! What the handlers know: the parts of the door that they share, and the connection of a request.

use std::sync::Arc;
use std::time::Duration;

use key_authority_domain::access::Network;

use super::connect::Rpc;
use crate::admin::Admin;
use crate::auth::call::CallAuthorizer;
use crate::auth::credential::Authenticator;
use crate::observability::telemetry::CallTracer;
use crate::proxied::Misroutes;
use crate::transport::connection::ConnectionContext;
use crate::verify::Verifier;

/// What the handlers share.
pub(super) struct Shared {
    pub(super) calls: CallAuthorizer,
    pub(super) admin: Arc<Admin>,
    pub(super) verifier: Arc<Verifier>,
    pub(super) trusted_proxies: Vec<Network>,
    pub(super) misroutes: Misroutes,
    pub(super) tracer: CallTracer,
    pub(super) request_timeout: Duration,
}

/// What a handler knows about the connection of a request, as a request extension.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) connection: ConnectionContext,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) rpc: Rpc,
}
