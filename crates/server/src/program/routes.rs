//! The services of each listener, and their limits on message sizes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{StreamExt as _, iter};
use http::Request;
use http_body_util::BodyExt as _;
use key_authority_proto::FILE_DESCRIPTOR_SET;
use key_authority_proto::v1::key_authority_server::KeyAuthorityServer;
use tokio::time::timeout;
use tonic::Status;
use tonic::service::Routes;
use tower::util::MapRequestLayer;

use crate::admin::service::AdminService;
use crate::auth::call::{CallAuthorizer, CallContext};
#[cfg(feature = "ext-authz")]
use crate::ext_authz::service::AuthorizationService;
use crate::rpc::errors::RpcError;
use crate::rpc::field_count::{CHECK_FIELDS_MAX, FIELDS_MAX, IMPORT_FIELDS_MAX, IMPORT_OWN_FIELDS_MAX};
use crate::rpc::health::HealthService;
use crate::rpc::raw::frame::{FieldLimits, FrameProgress};
use crate::transport::budget::{OverBudget, RequestCharge, headers_bytes};
use crate::transport::connection::ConnectionContext;
use crate::transport::limits::BoxError;
use crate::transport::places::REFLECTIONS_MAX;
use crate::wire::methods::path;
use crate::wire::request_types::RequestTypes;

/// The largest request of an admin RPC: a key with every field at its limit fits.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest message of an import: ten thousand keys with a kilobyte of text each fit.
const IMPORT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest request of a proxy. It contains headers that are as long as the client makes them, up to the proxy's own
/// limit. If a proxy lets requests pass on an error, a request over this limit would pass, so the limit is far above a
/// proxy's.
#[cfg(feature = "ext-authz")]
const CHECK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest request of reflection, in bytes: it contains a name.
const REFLECTION_BYTES_MAX: usize = 1024;
/// The time after which a stream of reflection ends.
const REFLECTION_TIME_MAX: Duration = Duration::from_mins(1);

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
    pub(crate) calls: CallAuthorizer,
    pub(crate) request_types: Arc<RequestTypes>,
}

impl Services {
    /// Returns the routes of a listener that serves everything.
    ///
    /// # Errors
    /// [`ReflectionError`].
    pub(crate) fn all(&self) -> Result<Routes, ReflectionError> {
        self.with_common(Routes::default().into_axum_router().merge(self.admin_router()))
    }

    /// Returns the routes behind the HTTP door: admin calls. The door charges what their requests hold.
    pub(crate) fn api(&self) -> Routes {
        let router = Routes::default().into_axum_router().merge(self.admin_router());
        let types = Arc::clone(&self.request_types);
        router.layer(MapRequestLayer::new(move |request| count_fields(&types, request))).into()
    }

    fn admin_router(&self) -> axum::Router {
        let admin = |bytes_max| KeyAuthorityServer::new(self.admin.clone()).max_decoding_message_size(bytes_max);
        axum::Router::new()
            .route_service(&path("ImportKeys"), admin(IMPORT_BYTES_MAX))
            .route_service(&path("{*method}"), admin(REQUEST_BYTES_MAX))
            .merge(pages(&admin(REQUEST_BYTES_MAX)))
            .layer(from_fn_with_state((self.calls.clone(), true), identify))
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
        let v1 = reflection().build_v1()?.max_decoding_message_size(REFLECTION_BYTES_MAX);
        let v1alpha = reflection().build_v1alpha()?.max_decoding_message_size(REFLECTION_BYTES_MAX);
        let reflection = Routes::new(v1).add_service(v1alpha);
        // Of two merged routers, only one may have a fallback.
        let reflection = reflection.into_axum_router().reset_fallback();
        let reflection = reflection.layer(from_fn(bound_reflection));
        let all = Routes::from(router.merge(reflection)).add_service(self.health.clone());
        #[cfg(feature = "ext-authz")]
        let all = {
            use key_authority_proto::ext_authz::authorization_server::AuthorizationServer;
            let ext_authz = AuthorizationServer::new(self.ext_authz.clone());
            let ext_authz = Routes::new(ext_authz.max_decoding_message_size(CHECK_BYTES_MAX));
            let ext_authz = ext_authz.into_axum_router().reset_fallback();
            Routes::from(
                all.into_axum_router()
                    .merge(ext_authz.layer(from_fn_with_state((self.calls.clone(), false), identify))),
            )
        };
        let types = Arc::clone(&self.request_types);
        Ok(all.into_axum_router().layer(MapRequestLayer::new(move |request| charge(&types, request))).into())
    }
}

/// Returns the routes of the methods whose response is a page: a connection has few of them at a time.
fn pages(admin: &KeyAuthorityServer<AdminService>) -> axum::Router {
    let methods = ["ListKeys", "ListAccounts", "ListAuditEvents"];
    let router = axum::Router::new();
    let router = methods.iter().fold(router, |router, method| router.route_service(&path(method), admin.clone()));
    router.layer(from_fn(take_turn))
}

/// Reads a request and waits for its turn: a request that does not end takes no turn, and what waits is charged.
async fn take_turn(request: Request<Body>, next: Next) -> Response {
    let Some(connection) = request.extensions().get::<ConnectionContext>() else { return next.run(request).await };
    let budget = connection.budget.clone();
    let (parts, body) = request.into_parts();
    let mut waiting = budget.request();
    let body = match read(body, &mut waiting).await {
        Ok(body) => body,
        Err(over) => return Status::from(RpcError::from(over)).into_http(),
    };
    let turn = budget.page().await;
    hold(turn, next.run(Request::from_parts(parts, body)).await)
}

/// Reads a body to its end, its first error, or more than a request may have, and charges what has been read: it may
/// be no complete message, or many. Returns the whole body.
async fn read(body: Body, waiting: &mut RequestCharge) -> Result<Body, OverBudget> {
    let mut chunks = body.into_data_stream();
    let (mut read, mut failed) = (Vec::new(), None);
    while read.len() <= REQUEST_BYTES_MAX && failed.is_none() {
        match chunks.next().await {
            Some(Ok(chunk)) => {
                waiting.set(read.len() + chunk.len())?;
                read.extend_from_slice(&chunk);
            }
            Some(Err(error)) => failed = Some(Err(error)),
            None => break,
        }
    }
    Ok(Body::from_stream(iter([Ok(Bytes::from(read))]).chain(iter(failed)).chain(chunks)))
}

/// Keeps `guard` until the response ends.
fn hold(guard: impl Send + 'static, response: Response) -> Response {
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &guard;
            frame
        }))
    })
}

/// Refuses the call of an unknown caller before its request is read. Where a token is needed, it also refuses an
/// anonymous one.
async fn identify(
    State((calls, needs_token)): State<(CallAuthorizer, bool)>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let context = CallContext::from_extensions(request.extensions());
    match calls.answer(&context, calls.identify(&context, needs_token)) {
        Ok(()) => next.run(request).await,
        Err(status) => status.into_http(),
    }
}

/// Charges the bytes of incomplete messages to the connection, and refuses messages of very many fields.
fn charge(types: &RequestTypes, request: Request<Body>) -> Request<Body> {
    let Some(connection) = request.extensions().get::<ConnectionContext>() else { return request };
    let mut charge = connection.budget.request();
    // The headers stay in memory for as long as the call waits for its message.
    let headers = headers_bytes(request.headers());
    with_progress(types, request, move |arrived| Ok(charge.set(headers + arrived)?))
}

/// Refuses messages of very many fields.
fn count_fields(types: &RequestTypes, request: Request<Body>) -> Request<Body> {
    with_progress(types, request, |_arrived| Ok(()))
}

/// Refuses messages of very many fields, and those whose bytes `admit` refuses. It gets the bytes of the incomplete
/// message so far: none at first, then with each chunk.
fn with_progress(
    types: &RequestTypes,
    request: Request<Body>,
    mut admit: impl FnMut(usize) -> Result<(), RpcError> + Send + 'static,
) -> Request<Body> {
    let path = request.uri().path();
    let (own_max, all_max) = if path.ends_with("/ImportKeys") {
        (IMPORT_OWN_FIELDS_MAX, IMPORT_FIELDS_MAX)
    } else if path.starts_with("/envoy.service.auth.v3.") {
        (CHECK_FIELDS_MAX, CHECK_FIELDS_MAX)
    } else {
        (FIELDS_MAX, FIELDS_MAX)
    };
    let mut progress = FrameProgress::new(FieldLimits { of: types.get(path), own_max, all_max });
    let refused = iter(admit(0).err().map(|error| Err(BoxError::from(Status::from(error)))));
    request.map(|body| {
        Body::from_stream(refused.chain(body.into_data_stream().map(move |chunk| {
            let chunk = chunk.map_err(BoxError::from)?;
            let arrived = progress.add(&chunk).map_err(Status::from)?;
            admit(arrived).map_err(Status::from)?;
            Ok(chunk)
        })))
    })
}

/// Limits the calls of reflection on a connection, and their time: grpcurl keeps its stream open for as long as the
/// call that it belongs to. A stream ends in order, also with its connection.
async fn bound_reflection(request: Request<Body>, next: Next) -> Response {
    let Some(connection) = request.extensions().get::<ConnectionContext>().cloned() else {
        return next.run(request).await;
    };
    let Some(counted) = connection.place.begin_reflection() else {
        return Status::from(RpcError::TooManyReflections { max: REFLECTIONS_MAX }).into_http();
    };
    let ended = connection.closing.cancelled_owned();
    let ended = async move {
        let _ = timeout(REFLECTION_TIME_MAX, ended).await;
    };
    let request = request.map(|body| Body::from_stream(body.into_data_stream().take_until(ended)));
    hold(counted, next.run(request).await)
}
