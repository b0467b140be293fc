//! The services of each listener, and their limits on message sizes.

use std::sync::Arc;

use axum::body::Body;
use futures_util::StreamExt as _;
use http::Request;
use key_authority_proto::FILE_DESCRIPTOR_SET;
use key_authority_proto::v1::key_authority_server::KeyAuthorityServer;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::Routes;
use tower::util::MapRequestLayer;

use crate::admin::service::AdminService;
use crate::auth::credential::Authentication;
use crate::auth::permit::Authorizer;
#[cfg(feature = "ext-authz")]
use crate::ext_authz::service::AuthorizationService;
use crate::rpc::errors::RpcError;
use crate::rpc::health::HealthService;
use crate::transport::limits::BoxError;
use crate::verify::methods::QUESTION_BYTES_MAX;
use crate::wire::methods::path;

/// The largest request of an admin RPC: a key with every field at its limit fits.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest message of an import: ten thousand keys with a kilobyte of scopes, labels and text each fit.
const IMPORT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest request of a proxy. It contains headers that are as long as the client makes them, up to the proxy's own
/// limit. If a proxy lets requests pass on an error, a request over this limit would pass, so the limit is far above a
/// proxy's.
#[cfg(feature = "ext-authz")]
const CHECK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The limit of all data in a call of an unknown caller. The data is buffered until the request is complete, and only
/// then rejected.
const UNKNOWN_BYTES_MAX: usize = QUESTION_BYTES_MAX;

/// The descriptor sets of all services, which reflection shows: our own, the proxies' service, health, reflection in
/// both versions, and the error details.
pub const DESCRIPTOR_SETS: &[&[u8]] = &[
    FILE_DESCRIPTOR_SET,
    #[cfg(feature = "ext-authz")]
    key_authority_proto::ext_authz::FILE_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_types::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// Reflection cannot be set up: a descriptor set does not decode.
pub(crate) type ReflectionError = tonic_reflection::server::Error;

/// The services that tonic serves: everything but the methods of Verify, which the connection's service intercepts.
pub(crate) struct Services {
    pub(crate) admin: AdminService,
    #[cfg(feature = "ext-authz")]
    pub(crate) ext_authz: AuthorizationService,
    pub(crate) health: HealthService,
    pub(crate) authorizer: Arc<Authorizer>,
    /// Cancelled when the server shuts down, which ends the streams of reflection.
    pub(crate) shutdown: CancellationToken,
}

impl Services {
    /// Returns the routes of a listener that serves everything.
    ///
    /// # Errors
    /// [`ReflectionError`].
    pub(crate) fn all(&self) -> Result<Routes, ReflectionError> {
        let admin = |bytes_max| KeyAuthorityServer::new(self.admin.clone()).max_decoding_message_size(bytes_max);
        let router = Routes::default()
            .into_axum_router()
            .route_service(&path("ImportKeys"), admin(IMPORT_BYTES_MAX))
            .route_service(&path("{*method}"), admin(REQUEST_BYTES_MAX));
        self.with_common(router)
    }

    /// Returns the routes of a listener for Verify: the proxies' service, health and reflection. Everything else is
    /// UNIMPLEMENTED.
    ///
    /// # Errors
    /// [`ReflectionError`].
    pub(crate) fn verify_only(&self) -> Result<Routes, ReflectionError> {
        self.with_common(Routes::default().into_axum_router())
    }

    fn with_common(&self, router: axum::Router) -> Result<Routes, ReflectionError> {
        let reflection = || {
            DESCRIPTOR_SETS.iter().fold(tonic_reflection::server::Builder::configure(), |builder, set| {
                builder.register_encoded_file_descriptor_set(set)
            })
        };
        let reflection = Routes::new(reflection().build_v1()?).add_service(reflection().build_v1alpha()?);
        // Of two merged routers, only one may have a fallback.
        let reflection = reflection.into_axum_router().reset_fallback();
        let reflection = reflection.layer(MapRequestLayer::new(end_with(self.shutdown.clone())));
        let all = Routes::from(router.merge(reflection)).add_service(self.health.clone());
        #[cfg(feature = "ext-authz")]
        let all = {
            use key_authority_proto::ext_authz::authorization_server::AuthorizationServer;
            let ext_authz = AuthorizationServer::new(self.ext_authz.clone());
            all.add_service(ext_authz.max_decoding_message_size(CHECK_BYTES_MAX))
        };
        let bound = bound_unknown_callers(Arc::clone(&self.authorizer));
        Ok(all.into_axum_router().layer(MapRequestLayer::new(bound)).into())
    }
}

/// Ends the request of an unknown caller after [`UNKNOWN_BYTES_MAX`].
fn bound_unknown_callers(authorizer: Arc<Authorizer>) -> impl Fn(Request<Body>) -> Request<Body> + Clone {
    move |request| {
        let identified = match request.extensions().get::<Authentication>() {
            Some(caller) => authorizer.identify(caller),
            None => Err(RpcError::Unauthenticated("the call has no credential")),
        };
        let Err(error) = identified else { return request };
        let (status, mut left) = (Status::from(error), UNKNOWN_BYTES_MAX);
        request.map(|body| {
            Body::from_stream(body.into_data_stream().map(move |chunk| {
                let chunk = chunk.map_err(BoxError::from)?;
                left = left.checked_sub(chunk.len()).ok_or_else(|| status.clone())?;
                Ok::<_, BoxError>(chunk)
            }))
        })
    }
}

/// Ends the request stream of a call when `shutdown` is cancelled: grpcurl keeps its reflection stream open for as long
/// as the call that it belongs to.
fn end_with(shutdown: CancellationToken) -> impl Fn(Request<Body>) -> Request<Body> + Clone {
    move |request| {
        let ended = shutdown.clone().cancelled_owned();
        request.map(|body| Body::from_stream(body.into_data_stream().take_until(ended)))
    }
}
