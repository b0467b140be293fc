//! The components that answer calls, and the services that they form on each connection.

use std::sync::Arc;

use http::HeaderMap;
use hyper::service::Service as _;
use key_authority_domain::secret::Keyring;
use key_authority_replica::ReplicaState;
use tonic::service::Routes;
use tower::Layer as _;

use super::config::Config;
use super::routes::Services;
use crate::admin::service::AdminService;
use crate::admin::{Admin, Stores};
use crate::auth::call::CallAuthorizer;
use crate::auth::credential::{Authentication, Authenticator};
use crate::auth::permit::Authorizer;
use crate::console::{self, ConsoleSettings};
#[cfg(feature = "ext-authz")]
use crate::ext_authz::service::AuthorizationService;
use crate::http::{ApiError, Door, DoorService, DoorSettings, Rpc, RpcFuture, Session};
use crate::observability::metrics::SharedMetrics;
use crate::observability::telemetry::CallTracer;
use crate::rpc::call::CallPolicy;
use crate::rpc::connection::ConnectionService;
use crate::rpc::deadline::Deadlines;
use crate::rpc::decode_errors::{DecodeErrorLayer, DecodeErrorService};
use crate::rpc::health::HealthService;
use crate::rpc::raw::{RawMethod, RawMethods};
use crate::transport::connection::ConnectionContext;
use crate::transport::peer::WithPeer;
use crate::verify::{self, Verifier};
use crate::wire::request_types::RequestTypes;

/// The components that answer calls.
pub(super) struct Server {
    raw: Arc<RawMethods<Authentication>>,
    policy: CallPolicy,
    keyring: Arc<Keyring>,
    replica: Arc<ReplicaState>,
    authorizer: Arc<Authorizer>,
    pub(super) services: Services,
    admin: Arc<Admin>,
    verifier: Arc<Verifier>,
    metrics: SharedMetrics,
    tracer: CallTracer,
}

impl Server {
    /// Makes the components. `stores` are those for reads and for changes; `console_url` is where browsers find the
    /// console, if there is one.
    pub(super) fn new(
        config: &Config,
        (keyring, stores, replica, request_types): (&Arc<Keyring>, Stores, &Arc<ReplicaState>, RequestTypes),
        console_url: Option<String>,
        metrics: &SharedMetrics,
        tracer: CallTracer,
        health: HealthService,
    ) -> Self {
        let keyring = Arc::clone(keyring);
        let authorizer = Arc::new(Authorizer::new(Arc::clone(replica), config.anonymous_verify));
        let verifier = Arc::new(Verifier::new(Arc::clone(replica), Arc::clone(&keyring), metrics.clone()));
        let calls = CallAuthorizer::new(Arc::clone(&authorizer), metrics.clone());
        let admin = Arc::new(Admin::new(stores, Arc::clone(replica), console_url, metrics.clone()));
        Self {
            raw: Arc::new(verify::methods::methods(&authorizer, &verifier)),
            policy: CallPolicy::new(metrics.calls(), Deadlines::new(config.request_timeout), tracer.clone()),
            keyring,
            replica: Arc::clone(replica),
            authorizer,
            services: Services {
                admin: AdminService::new(Arc::clone(&admin), calls.clone()),
                #[cfg(feature = "ext-authz")]
                ext_authz: AuthorizationService::new(calls.clone(), Arc::clone(&verifier)),
                health,
                calls,
                request_types: Arc::new(request_types),
            },
            admin,
            verifier,
            metrics: metrics.clone(),
            tracer,
        }
    }

    /// Returns a function that makes the service of each connection, with these routes.
    pub(super) fn connections(
        &self,
        routes: Routes,
    ) -> impl Fn(ConnectionContext) -> Connection + Clone + Send + 'static {
        let (raw, policy, keyring) = (Arc::clone(&self.raw), self.policy.clone(), Arc::clone(&self.keyring));
        let authorizer = Arc::clone(&self.authorizer);
        let tonic = DecodeErrorLayer.layer(routes.prepare());
        move |connection| {
            let authenticator = Authenticator::new(Arc::clone(&keyring), connection.peer.address());
            let (place, authorizer) = (Arc::clone(&connection.place), Arc::clone(&authorizer));
            if connection.peer.is_verified() {
                place.promote(None, || false);
            }
            let authenticate: Authenticate = Box::new(move |headers| {
                let caller = authenticator.authenticate(headers);
                if place.may_promote() && authorizer.is_known(&caller) {
                    place.promote(authorizer.presented_key(&caller), authorizer.has_ended(&caller));
                }
                caller
            });
            let tonic = WithPeer::new(tonic.clone(), connection.peer.clone());
            ConnectionService::new(Arc::clone(&raw), policy.clone(), authenticate, tonic, connection)
        }
    }

    /// Returns the pages for people.
    fn console(&self, config: &Config) -> axum::Router {
        console::routes(ConsoleSettings {
            admin: self.services.admin.clone(),
            calls: self.services.calls.clone(),
            keyring: Arc::clone(&self.keyring),
            replica: Arc::clone(&self.replica),
            is_tls: config.tls.is_some(),
            trusted_proxies: config.trusted_proxies.clone(),
            request_timeout: config.request_timeout,
        })
    }

    /// Returns a function that makes the service of each connection of the HTTP door.
    ///
    /// # Errors
    /// When the descriptor sets of the API do not decode.
    pub(super) fn door(
        &self,
        config: &Config,
    ) -> Result<impl Fn(ConnectionContext) -> DoorService + Clone + Send + 'static, ApiError> {
        let door = Door::new(DoorSettings {
            calls: self.services.calls.clone(),
            admin: Arc::clone(&self.admin),
            verifier: Arc::clone(&self.verifier),
            metrics: self.metrics.clone(),
            tracer: self.tracer.clone(),
            request_timeout: config.request_timeout,
            trusted_proxies: config.trusted_proxies.clone(),
            console: config.console.then(|| self.console(config)),
        })?;
        let (keyring, raw) = (Arc::clone(&self.keyring), Arc::clone(&self.raw));
        let connect = self.connections(self.services.api());
        Ok(move |connection: ConnectionContext| {
            let calls = connect(connection.clone());
            let call = move |request| -> RpcFuture {
                let call = calls.call(request);
                Box::pin(async move { Ok(call.await?.map(tonic::body::Body::new)) })
            };
            let raw = Arc::clone(&raw);
            let rpc = Rpc::new(call, move |path| raw.get(path).and_then(RawMethod::request_bytes_max));
            let authenticator = Authenticator::new(Arc::clone(&keyring), connection.peer.address());
            door.connection(Session { connection, authenticator: Arc::new(authenticator), rpc })
        })
    }
}

type Authenticate = Box<dyn Fn(&HeaderMap) -> Authentication + Send + Sync>;
/// The gRPC service of a connection.
pub(super) type Connection = ConnectionService<Authentication, Authenticate, WithPeer<DecodeErrorService<Routes>>>;
