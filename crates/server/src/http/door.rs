//! The router of the HTTP door, and what all requests have in common.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::future::RouteFuture;
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use http::{HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::Service;
use key_authority_domain::access::Network;
use tokio::time::timeout;
use tracing::Instrument as _;

use super::connect::{self, Api, ApiError};
use super::forward_auth::forward_auth;
use super::introspect::introspect;
use super::openapi;
use super::reply::{method_not_allowed, not_found, rejected};
use super::revoke::revoke;
use super::session::{Session, Shared};
use super::unread;
use crate::admin::Admin;
use crate::auth::call::CallAuthorizer;
use crate::observability::metrics::{RequestMetrics, SharedMetrics};
use crate::observability::telemetry::CallTracer;
use crate::proxied::Misroutes;
use crate::rpc::errors::RpcError;
use crate::transport::budget::{ChargedBody, OverBudget, headers_bytes};
use crate::transport::places::STRANGER_CALLS_MAX;
use crate::verify::Verifier;

/// The route of a path that the door does not have, in metrics.
const UNKNOWN_ROUTE: &str = "unknown";

/// The components and settings of the door.
pub(crate) struct DoorSettings {
    pub(crate) calls: CallAuthorizer,
    pub(crate) admin: Arc<Admin>,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) metrics: SharedMetrics,
    pub(crate) tracer: CallTracer,
    /// The time limit of requests that are not calls of the API; those have deadlines.
    pub(crate) request_timeout: Duration,
    /// The networks of proxies whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: Vec<Network>,
    /// The pages for people; `None` if they are off.
    pub(crate) console: Option<Router>,
}

/// The door. Clones share one router.
#[derive(Clone)]
pub(crate) struct Door {
    router: Router,
}

impl Door {
    /// Makes the door.
    ///
    /// # Errors
    /// When the descriptor sets of the API do not decode.
    pub(crate) fn new(settings: DoorSettings) -> Result<Self, ApiError> {
        let DoorSettings { calls, admin, verifier, metrics, tracer, request_timeout, trusted_proxies, console } =
            settings;
        let misroutes = Misroutes::default();
        let shared = Arc::new(Shared { calls, admin, verifier, trusted_proxies, misroutes, tracer, request_timeout });
        let api = Api::read(request_timeout)?;
        let document = openapi::document(api.pool());
        let router = Router::new()
            .route("/introspect", post(introspect))
            .route("/revoke", post(revoke))
            .route("/forward-auth", any(forward_auth))
            .with_state(Arc::clone(&shared))
            .route("/openapi.json", get(async move || openapi::reply(document.clone())))
            .merge(console.map(|console| console.route("/", any(root))).unwrap_or_default())
            .layer(from_fn_with_state(shared, limit))
            .merge(connect::routes(Arc::new(api)))
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(from_fn(charge_headers))
            .layer(from_fn_with_state(metrics.requests(), observe))
            .layer(from_fn(unread::drain));
        Ok(Self { router })
    }

    /// Returns the service of one connection.
    pub(crate) fn connection(&self, session: Session) -> DoorService {
        DoorService { router: self.router.clone(), session }
    }
}

/// The service of one connection.
pub(crate) struct DoorService {
    router: Router,
    session: Session,
}

impl Service<Request<Incoming>> for DoorService {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.session.clone());
        tower::Service::call(&mut self.router.clone(), request)
    }
}

/// `/`: leads people to the console. A program gets 404, as for every other unknown path.
async fn root(request: Request) -> Response {
    let accepts_pages = request
        .headers()
        .get_all(header::ACCEPT)
        .iter()
        .any(|accepted| accepted.to_str().is_ok_and(|accepted| accepted.contains("text/html")));
    if !accepts_pages || !matches!(*request.method(), Method::GET | Method::HEAD) {
        let message = "there is no such path; GET /openapi.json lists the API, and /console/ has pages for people";
        return rejected(StatusCode::NOT_FOUND, "not_found", message);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/console/"));
    response
}

/// Returns the route of a request.
fn route(request: &Request) -> &str {
    request.extensions().get::<MatchedPath>().map_or(UNKNOWN_ROUTE, MatchedPath::as_str)
}

/// Measures a request, and adds the headers that every response has.
async fn observe(State(metrics): State<RequestMetrics>, request: Request, next: Next) -> Response {
    let mut observed = metrics.begin(route(&request), request.method());
    let mut response = next.run(request).await;
    observed.answered(response.status());
    let headers = response.headers_mut();
    // Responses contain tokens and decisions; a page that may be stored has its own header.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Charges the headers of a request to the connection until there is a response.
async fn charge_headers(Extension(session): Extension<Session>, request: Request, next: Next) -> Response {
    let mut charge = session.connection.budget.request();
    if let Err(over) = charge.set(headers_bytes(request.headers())) {
        return over_budget(over);
    }
    next.run(request).await
}

fn over_budget(over: OverBudget) -> Response {
    rejected(StatusCode::TOO_MANY_REQUESTS, "resource_exhausted", &RpcError::from(over).message())
}

/// Limits the number and the time of requests that are not calls of the API, and traces them. Calls have the limits and
/// the spans of gRPC.
async fn limit(
    State(shared): State<Arc<Shared>>,
    Extension(session): Extension<Session>,
    request: Request,
    next: Next,
) -> Response {
    let connection = &session.connection;
    let Some(in_progress) = connection.place.begin_call() else {
        let error = RpcError::TooManyCalls { max: STRANGER_CALLS_MAX };
        return rejected(StatusCode::TOO_MANY_REQUESTS, "resource_exhausted", &error.message());
    };
    let span = shared.tracer.request_span(request.headers(), request.method(), route(&request));
    let budget = connection.budget.clone();
    let call = async {
        match connection.budget.room_for(!request.body().is_end_stream()).await {
            Ok(()) => next.run(request).await,
            Err(over) => over_budget(over),
        }
    };
    match timeout(shared.request_timeout, call.instrument(span)).await {
        // The request is in progress until its response ends.
        Ok(response) => response.map(|body| Body::new(ChargedBody::new(body, budget, in_progress).charge_first())),
        Err(_elapsed) => {
            rejected(StatusCode::REQUEST_TIMEOUT, "deadline_exceeded", "the request was not complete in time")
        }
    }
}
