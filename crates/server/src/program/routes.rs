//! Which services a listener offers, and how large a message each may get.

use axum::body::Body;
use futures_util::StreamExt as _;
use http::Request;
use key_authority_proto::FILE_DESCRIPTOR_SET;
use key_authority_proto::v1::key_authority_server::KeyAuthorityServer;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::Routes;
use tower::util::MapRequestLayer;

use crate::admin::service::Service;
use crate::rpc::health::HealthService;
use crate::transport::listener::BoxError;
use crate::verify::message::{BATCH_BYTES_MAX, QUESTION_BYTES_MAX};

/// The largest request of all but the questions: a key with every field at its limit fits.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The paths that the listener for Verify alone offers, with the largest request of each.
const QUESTIONS: [(&str, usize); 3] = [
    ("/keyauthority.v1.KeyAuthority/Verify", QUESTION_BYTES_MAX),
    ("/keyauthority.v1.KeyAuthority/VerifyStream", QUESTION_BYTES_MAX),
    ("/keyauthority.v1.KeyAuthority/BatchVerify", BATCH_BYTES_MAX),
];
/// What a proxy asks. The headers in it are as long as a client makes them, up to the proxy's own limit, and where a proxy
/// lets requests pass on an error, what is too large here would pass: so there is room for far more than a proxy takes in.
#[cfg(feature = "ext-authz")]
const CHECK: (&str, usize) = ("/envoy.service.auth.v3.Authorization/Check", REQUEST_BYTES_MAX);
/// All that a call may send whose caller is not known. It is held until the request is whole, and only then refused.
const UNKNOWN_BYTES_MAX: usize = QUESTION_BYTES_MAX;
const IMPORT: &str = "/keyauthority.v1.KeyAuthority/ImportKeys";
/// The largest message of an import: ten thousand keys with a kilobyte of scopes, labels and words each fit.
const IMPORT_BYTES_MAX: usize = 16 * 1024 * 1024;
const ALL_ELSE: &str = "/keyauthority.v1.KeyAuthority/{*method}";

/// What is served and what reflection shows of it: ours, what proxies ask, health, reflection in both versions, and the error
/// details.
pub const DESCRIPTOR_SETS: &[&[u8]] = &[
    FILE_DESCRIPTOR_SET,
    #[cfg(feature = "ext-authz")]
    key_authority_proto::ext_authz::FILE_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_types::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// Reflection could not be set up: a descriptor set does not decode.
pub type ReflectionError = tonic_reflection::server::Error;

/// Everything. Streams of reflection end when the server is `ending`, as the service's own do.
///
/// # Errors
/// [`ReflectionError`].
pub fn all(service: &Service, health: HealthService, ending: &CancellationToken) -> Result<Routes, ReflectionError> {
    let server = |bytes_max| KeyAuthorityServer::new(service.clone()).max_decoding_message_size(bytes_max);
    let router = questions(service).route_service(IMPORT, server(IMPORT_BYTES_MAX));
    let router = router.route_service(ALL_ELSE, server(REQUEST_BYTES_MAX));
    with_kin(service, router, health, ending)
}

/// Verify, its batch and its stream, what proxies ask, health and reflection; everything else is UNIMPLEMENTED.
///
/// # Errors
/// [`ReflectionError`].
pub fn verify_only(
    service: &Service,
    health: HealthService,
    ending: &CancellationToken,
) -> Result<Routes, ReflectionError> {
    with_kin(service, questions(service), health, ending)
}

fn questions(service: &Service) -> axum::Router {
    let router = QUESTIONS.into_iter().fold(Routes::default().into_axum_router(), |router, (path, bytes_max)| {
        router.route_service(path, KeyAuthorityServer::new(service.clone()).max_decoding_message_size(bytes_max))
    });
    #[cfg(feature = "ext-authz")]
    let router = {
        use key_authority_proto::ext_authz::authorization_server::AuthorizationServer;
        let (path, bytes_max) = CHECK;
        router.route_service(path, AuthorizationServer::new(service.clone()).max_decoding_message_size(bytes_max))
    };
    router
}

fn with_kin(
    service: &Service,
    router: axum::Router,
    health: HealthService,
    ending: &CancellationToken,
) -> Result<Routes, ReflectionError> {
    let reflection = || {
        DESCRIPTOR_SETS.iter().fold(tonic_reflection::server::Builder::configure(), |builder, set| {
            builder.register_encoded_file_descriptor_set(set)
        })
    };
    let reflection = Routes::new(reflection().build_v1()?).add_service(reflection().build_v1alpha()?);
    // Of two routers that are merged, only one may answer what is in neither.
    let reflection = reflection.into_axum_router().reset_fallback();
    let reflection = reflection.layer(MapRequestLayer::new(until(ending.clone())));
    let all = Routes::from(router.merge(reflection)).add_service(health).into_axum_router();
    Ok(all.layer(MapRequestLayer::new(short_unless_known(service.clone()))).into())
}

/// Ends the request of a caller who is not known where it gets long.
fn short_unless_known(service: Service) -> impl Fn(Request<Body>) -> Request<Body> + Clone {
    move |request| {
        let Err(failure) = service.know(request.headers()) else { return request };
        let (refusal, mut left) = (Status::from(failure), UNKNOWN_BYTES_MAX);
        request.map(|body| {
            Body::from_stream(body.into_data_stream().map(move |part| {
                let part = part.map_err(BoxError::from)?;
                left = left.checked_sub(part.len()).ok_or_else(|| refusal.clone())?;
                Ok::<_, BoxError>(part)
            }))
        })
    }
}

/// Ends the questions of a stream when the server is `ending`, and so the stream: grpcurl keeps its stream of reflection
/// open for as long as the call that it was opened for.
fn until(ending: CancellationToken) -> impl Fn(Request<Body>) -> Request<Body> + Clone {
    move |request| {
        let ended = ending.clone().cancelled_owned();
        request.map(|body| Body::from_stream(body.into_data_stream().take_until(ended)))
    }
}
