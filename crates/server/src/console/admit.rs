//! Admits requests: opens the session, authorizes its caller from memory, and checks that a change comes from a form of
//! this session.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use tonic::Code;

use super::answer::redirect;
use super::arrival::{Arrival, KEPT_BYTES_MAX, checked_form, form_without_session};
use super::failure::{Failure, PERMISSION_MISSING, TOO_MANY_CALLS};
use super::fields::{Fields, query};
use super::notice::Notice;
use super::origin::is_from_elsewhere;
use super::pages::errors;
use super::pages::search::hint_of_token;
use super::portal;
use super::session::{self, Session};
use super::sign_in::{self, Prompt};
use super::visit::Visit;
use crate::auth::call::{CallContext, RequestPath};
use crate::auth::credential::Authentication;
use crate::auth::permit::Permit;
use crate::auth::portal::PortalUser;

/// The path that ends a session.
const SIGN_OUT: &str = "/console/sign-out";
/// The route of the paths that the console does not have.
pub(super) const NO_ROUTE: &str = "/console/{*path}";
/// The header of requests by htmx.
const BY_HTMX: HeaderName = HeaderName::from_static("hx-request");
/// The header of responses that makes htmx open another page.
const HTMX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");

/// The fields of addresses that say where a list goes on. The authority makes them, and they may look like any text.
const PAGE_TOKENS: [&str; 2] = ["page", "trail"];

/// Who makes a request to the pages for people who are signed in.
type Visitor = (Session, Authentication, Permit);

/// Why a request is not admitted.
enum Refusal {
    SignedOut(Prompt),
    Failed(Failure),
}

/// Admits a request to the pages for people who are signed in.
pub(super) async fn admit(mut arrival: Arrival, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let visitor = match identify(&arrival, &parts) {
        Ok(visitor) => visitor,
        Err(refusal) => return refuse(&arrival, &parts, body, refusal).await,
    };
    let (session, authentication, _) = &visitor;
    arrival.shared.calls.promote(&arrival.connected.connection.place, authentication);
    let Some(user) = waiting_user(session, &parts) else { return enter(arrival, visitor, parts, body, next).await };
    let shared = Arc::clone(&arrival.shared);
    let waited = timeout(shared.patience, shared.portal_requests.acquire(user)).await;
    let Ok(Some(_in_progress)) = waited else {
        let context = CallContext::new(authentication.clone(), route(&parts), &arrival.connected.connection);
        shared.calls.record_refusal(&context, Code::ResourceExhausted, TOO_MANY_CALLS);
        return failed(&arrival, &parts, body, &Failure::too_many_requests()).await;
    };
    // Once more, since the session may have ended meanwhile.
    arrival.now = shared.replica.time();
    match identify(&arrival, &parts) {
        Ok(visitor) => enter(arrival, visitor, parts, body, next).await,
        Err(refusal) => refuse(&arrival, &parts, body, refusal).await,
    }
}

/// Opens the session of a request, and authorizes its caller.
fn identify(arrival: &Arrival, parts: &Parts) -> Result<Visitor, Refusal> {
    let address = arrival.connected.connection.peer.address();
    let known = arrival.session(&parts.headers).and_then(|session| Some((session.credential(address)?, session)));
    let (credential, session) = known.ok_or(Refusal::SignedOut(Prompt::Required))?;
    let authentication: Authentication = Ok(credential);
    let context = CallContext::new(authentication.clone(), route(parts), &arrival.connected.connection);
    match arrival.authorize(&authentication).inspect_err(|error| arrival.shared.calls.note_refusal(&context, error)) {
        Ok(permit) => Ok((session, authentication, permit)),
        Err(error) if error.code().0 == Code::Unauthenticated => {
            Err(Refusal::SignedOut(Prompt::Ended(Failure::from(error).sentence())))
        }
        Err(error) => Err(Refusal::Failed(error.into())),
    }
}

async fn refuse(arrival: &Arrival, parts: &Parts, body: Body, refusal: Refusal) -> Response {
    match refusal {
        Refusal::SignedOut(prompt) => signed_out(arrival, parts, Form::Unread(body), prompt).await,
        Refusal::Failed(failure) => failed(arrival, parts, body, &failure).await,
    }
}

/// Answers a request of a session that cannot be admitted now. A form is offered to be sent again: browsers keep no
/// page of the console to go back to.
async fn failed(arrival: &Arrival, parts: &Parts, body: Body, failure: &Failure) -> Response {
    if parts.method != Method::POST {
        return errors::bare_reloading(failure, arrival.is_of_portal(&parts.headers));
    }
    let Some(session) = arrival.session(&parts.headers) else { return errors::bare(failure) };
    // A form of another site must not be offered as one's own.
    match checked_form(arrival, &session, parts, body).await {
        Ok(fields) => errors::unsent(&session, parts.uri.path(), &fields, failure),
        Err(_) => errors::bare_for(failure, session.portal().is_some()),
    }
}

/// Returns the portal user whose other requests this one may have to wait for, before its form is read. Signing out
/// does not wait.
fn waiting_user(session: &Session, parts: &Parts) -> Option<PortalUser> {
    let portal = session.portal().filter(|_| parts.uri.path() != SIGN_OUT);
    portal.map(|portal| portal.grant.user())
}

/// Runs the handler of a visitor.
async fn enter(
    arrival: Arrival,
    (mut session, authentication, permit): Visitor,
    mut parts: Parts,
    body: Body,
    next: Next,
) -> Response {
    let is_post = parts.method == Method::POST;
    if !is_post && let Some(address) = without_tokens(&parts) {
        return redirect(&address);
    }
    let is_renewed = session.touch(arrival.now);
    let fields = if is_post {
        checked_form(&arrival, &session, &parts, body).await
    } else {
        Ok(Fields::parse(parts.uri.query().unwrap_or_default().as_bytes()))
    };
    let fields = match fields {
        Ok(fields) => fields,
        Err(failure) => {
            record_own_refusal(&arrival, &authentication, &parts, &failure);
            return errors::bare(&failure);
        }
    };
    let notice = if is_post { None } else { Notice::open(&arrival, &session, &parts.headers) };
    let wants_text = parts.headers.get(header::ACCEPT).is_some_and(|accepted| accepted == "text/plain");
    let visit = Arc::new(Visit {
        session,
        method: parts.method.clone(),
        path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        route: route(&parts),
        fields,
        now: arrival.now,
        notice,
        is_secure: arrival.is_secure,
        wants_text,
        permit,
        authentication,
        deadline: arrival.deadline(),
        connection: arrival.connected.connection.clone(),
        shared: Arc::clone(&arrival.shared),
    });
    parts.extensions.insert(Arc::clone(&visit));
    let mut response = handle(&visit, &parts, next).await;
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        record_own_refusal(&arrival, &visit.authentication, &parts, &failure);
        if failure.is_unauthenticated() {
            let form = Form::Checked(&visit.fields);
            return signed_out(&arrival, &parts, form, Prompt::Ended(failure.sentence())).await;
        }
        response = errors::page(&visit, &failure);
    }
    let headers = response.headers_mut();
    if visit.notice.is_some() {
        headers.append(header::SET_COOKIE, Notice::removal(visit.is_secure));
    }
    // A handler that ends the session removes the cookie itself.
    if is_renewed
        && !session::is_set_by(headers, visit.is_secure)
        && let Ok(cookie) = visit.session.cookie(&visit.shared.keyring, visit.is_secure)
    {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

/// Runs the handler of a page that the visitor may see.
async fn handle(visit: &Visit, parts: &Parts, next: Next) -> Response {
    if visit.session.portal().is_some() && !is_for_portals(parts.uri.path()) {
        if visit.route != NO_ROUTE.into() {
            let context = CallContext::new(visit.authentication.clone(), route(parts), &visit.connection);
            visit.shared.calls.record_refusal(&context, Code::PermissionDenied, PERMISSION_MISSING);
        }
        return Failure::no_page().into_response();
    }
    // A handler would refuse a path that is not UTF-8 with a page of its own.
    if percent_decode_str(parts.uri.path()).decode_utf8().is_err() {
        return Failure::no_page().into_response();
    }
    next.run(Request::from_parts(parts.clone(), Body::empty())).await
}

/// Returns the path of a request as its route has it.
fn route(parts: &Parts) -> RequestPath {
    parts.extensions.get::<MatchedPath>().map_or(NO_ROUTE.into(), |path| RequestPath(path.as_str().to_owned().into()))
}

/// Records what the console itself refuses. Refused calls of the API are recorded where they are answered.
fn record_own_refusal(arrival: &Arrival, authentication: &Authentication, parts: &Parts, failure: &Failure) {
    if let Some(reason) = failure.own_refusal() {
        let context = CallContext::new(authentication.clone(), route(parts), &arrival.connected.connection);
        arrival.shared.calls.record_refusal(&context, failure.code, reason);
    }
}

/// Whether a portal session has this page. The calls behind the pages have the same limits; this leaves out what would
/// only be empty.
fn is_for_portals(path: &str) -> bool {
    let is_below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| !rest.is_empty());
    ["/console/", SIGN_OUT].contains(&path) || is_below("/console/accounts/") || is_below("/console/keys/")
}

/// Returns where somebody wanted to go, without the tokens in the address.
fn destination(parts: &Parts) -> String {
    let as_sent = || parts.uri.path_and_query().map_or("/console/", |path| path.as_str()).to_owned();
    without_tokens(parts).unwrap_or_else(as_sent)
}

/// Returns the address of a request with the hints of the tokens that it contains; `None` if it contains none. A token
/// may be pasted into any field of a search, and browsers and proxies record addresses.
fn without_tokens(parts: &Parts) -> Option<String> {
    let fields = Fields::parse(parts.uri.query()?.as_bytes());
    let hint = |name: &str, value| if PAGE_TOKENS.contains(&name) { None } else { hint_of_token(value) };
    let shortened = fields.pairs().map(|(name, value)| (name, hint(name, value).map_or(value.into(), Cow::Owned)));
    let shortened: Vec<(_, Cow<'_, str>)> = shortened.collect();
    if shortened.iter().all(|(_, value)| matches!(value, Cow::Borrowed(_))) {
        return None;
    }
    Some(format!("{}?{}", parts.uri.path(), query(shortened.iter().map(|(name, value)| (*name, &**value)))))
}

/// The form of somebody who is signed out.
enum Form<'a> {
    /// It has the token of the session that has just ended.
    Checked(&'a Fields),
    /// Nobody has read it.
    Unread(Body),
}

/// Answers somebody who is not signed in.
async fn signed_out(arrival: &Arrival, parts: &Parts, form: Form<'_>, prompt: Prompt) -> Response {
    let destination = destination(parts);
    let path = destination.as_str();
    let by_script = parts.headers.contains_key(&BY_HTMX);
    if arrival.is_of_portal(&parts.headers) {
        let mut response =
            portal::ended(arrival.is_secure, parts.method == Method::POST && parts.uri.path() != SIGN_OUT);
        if by_script {
            *response.status_mut() = StatusCode::OK;
            response.headers_mut().insert(HTMX_REDIRECT, HeaderValue::from_static(portal::LEFT_PATH));
        }
        return response;
    }
    if parts.method == Method::POST && !by_script {
        let kept = match form {
            Form::Checked(fields) => (fields.encoded().len() <= KEPT_BYTES_MAX).then(|| fields.clone()),
            Form::Unread(body) => form_without_session(arrival, &parts.headers, body).await,
        };
        let session = arrival.sign_in_session(&parts.headers);
        return sign_in::keep(arrival, session, path, kept.as_ref(), &prompt);
    }
    if is_from_elsewhere(&parts.headers) && matches!(prompt, Prompt::Required) {
        return errors::again(path);
    }
    let why = if matches!(prompt, Prompt::Ended(_)) { "ended" } else { "" };
    let to = format!("/console/sign-in?{}", query([("to", path), ("why", why)]));
    let mut response = redirect(&to);
    if by_script {
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().insert(HTMX_REDIRECT, HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("")));
    }
    if matches!(prompt, Prompt::Ended(_)) {
        response.headers_mut().append(header::SET_COOKIE, session::SESSION_COOKIE.removal(arrival.is_secure));
    }
    response
}
