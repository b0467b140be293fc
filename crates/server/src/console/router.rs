//! The routes of the console, and the headers of its responses.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{any, get, post};
use flate2::Compression;
use http::{HeaderName, HeaderValue, header};

use super::admit::{NO_ROUTE, admit};
use super::answer::redirect;
use super::origin::is_by_visitor;
use super::pages::{
    account_actions, accounts, audit, connect, create, errors, find, key, key_actions, keys, new_account, renew,
    replicas,
};
use super::shared::{ConsoleSettings, Shared};
use super::{assets, portal, sign_in};
use crate::admin::portal::ENTER_PATH;
use crate::gzip;

/// What pages may load and do: nothing but what this console serves.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
     frame-ancestors 'none'; base-uri 'none'",
);

/// Returns the routes of the console.
pub(crate) fn routes(settings: ConsoleSettings) -> Router {
    let shared = Arc::new(Shared::new(settings));
    let pages = Router::new()
        .route("/console/", get(accounts::home))
        // Somebody who signs in is led to where a form of an ended session was sent to.
        .route("/console/sign-out", post(sign_in::sign_out).get(accounts::home))
        .route("/console/accounts", get(accounts::list))
        .route("/console/create-account", get(new_account::form).post(new_account::submit))
        .route("/console/keys", get(find::list))
        .route("/console/accounts/{account}", get(keys::list))
        .route("/console/accounts/{account}/create", get(create::form).post(create::submit))
        .route("/console/accounts/{account}/connect", get(connect::form).post(connect::submit))
        .route("/console/accounts/{account}/suspend", get(account_actions::ask_suspend).post(account_actions::suspend))
        .route("/console/accounts/{account}/resume", post(account_actions::resume).get(account_actions::to_page))
        .route("/console/accounts/{account}/instructions", post(connect::with_token).get(connect::to_form))
        .route("/console/keys/{key}", get(key::show).post(key::save))
        .route("/console/keys/{key}/disable", post(key_actions::disable).get(key::to_page))
        .route("/console/keys/{key}/enable", post(key_actions::enable).get(key::to_page))
        .route("/console/keys/{key}/revoke", post(key_actions::revoke).get(key::to_page))
        .route("/console/keys/{key}/reveal", post(key_actions::reveal).get(key::to_page))
        .route("/console/keys/{key}/renew", get(renew::ask).post(renew::submit))
        .route("/console/keys/{key}/delete", get(key_actions::ask_delete).post(key_actions::delete))
        .route("/console/audit", get(audit::list))
        .route("/console/replicas", get(replicas::list))
        .route("/console/wait", post(key_actions::wait).get(accounts::home))
        .route(NO_ROUTE, any(errors::no_page))
        .method_not_allowed_fallback(errors::no_method)
        .layer(from_fn_with_state(Arc::clone(&shared), admit));
    let open = Router::new()
        .route("/console", get(async || redirect("/console/")))
        .route("/console/sign-in", get(sign_in::ask).post(sign_in::submit))
        .route(ENTER_PATH, get(portal::ask).post(portal::submit))
        .route(portal::LEFT_PATH, get(portal::left))
        .method_not_allowed_fallback(errors::no_method_for_nobody)
        .with_state(shared);
    let compress = from_fn_with_state(Compression::default(), gzip::compress);
    let compressed = pages.merge(open).layer(compress).layer(from_fn(compress_for_own));
    let files = assets::routes().method_not_allowed_fallback(errors::no_method_for_nobody);
    compressed.merge(files).layer(from_fn(protect))
}

/// Compresses pages for requests alone that the console's own pages or the visitor made. The length of a compressed
/// page that repeats a part of its address could disclose a secret on it to another site that makes requests (BREACH).
async fn compress_for_own(mut request: Request, next: Next) -> Response {
    if !is_by_visitor(request.headers()) {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    next.run(request).await
}

/// Adds the headers that every response of the console has.
async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static("same-origin"));
    }
    response
}
