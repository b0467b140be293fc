//! The entrance and the exit of portal sessions.
//!
//! A product's backend gets a link from `CreatePortalSession`, and sends the browser of its user there. The link shows
//! a page that sends its code by a form: a script does it at once, and without scripts there is a button.
//!
//! - Following the link must not use the code up, since browsers and mail programs follow links ahead of their users.
//!   Only the POST does.
//! - A cookie with `SameSite=Strict` is not sent along a chain of redirects that began on another site, so a redirect
//!   from the product straight to the keys would arrive without its session. The form begins a chain on this site.
//! - The code is in the address of that one page. Pages send no referrer, and neither logs nor traces have addresses.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use key_authority_replica::index::SecretMissing;
use tonic::Code;

use super::answer::{page_with, redirect};
use super::arrival::{Arrival, form};
use super::failure::Failure;
use super::fields::Fields;
use super::frame::Frame;
use super::origin::is_same_origin;
use super::pages::errors;
use super::session::{self, Session};
use super::shared::Shared;
use super::show;
use crate::admin::portal::ENTER_PATH;
use crate::auth::call::CallContext;
use crate::auth::credential::Credential;
use crate::auth::portal::{CodeError, PortalGrant};
use crate::http::Session as Connected;
use crate::rpc::errors::RpcError;

/// The largest form of the page behind a link, in bytes: it has the code.
const CODE_BYTES_MAX: usize = 8 * 1024;

/// Where signed-out users of a portal end.
pub(super) const LEFT_PATH: &str = "/console/left";

#[derive(Template)]
#[template(path = "console/enter.html")]
struct EnterPage {
    frame: Frame,
    path: &'static str,
    subject: String,
    account: String,
    code: String,
    error: String,
    /// Whether the form replaces the session of an operator.
    replaces: bool,
    /// Whether a script may send the form at once.
    is_sent_at_once: bool,
}

#[derive(Template)]
#[template(path = "console/left.html")]
struct LeftPage {
    frame: Frame,
    message: &'static str,
}

/// `GET /console/enter`
pub(super) async fn ask(
    State(shared): State<Arc<Shared>>,
    Extension(connected): Extension<Connected>,
    request: Request,
) -> Response {
    let arrival = Arrival::new(shared, connected, request.headers());
    let code = Fields::parse(request.uri().query().unwrap_or_default().as_bytes()).get("code").to_owned();
    let grant = match open(&arrival, &code) {
        // Going back leads to this page, and its code was used.
        _ if is_in_session_of(&arrival, request.headers(), &code) => return redirect(session::HOME),
        Ok(grant) => grant,
        Err(CodeError::Over) => return over(),
        Err(CodeError::SecretMissing(version)) => return errors::bare(&missing(version)),
    };
    enter_page(StatusCode::OK, &grant, code, |page| page.is_sent_at_once = true)
}

/// `POST /console/enter`
pub(super) async fn submit(
    State(shared): State<Arc<Shared>>,
    Extension(connected): Extension<Connected>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let arrival = Arrival::new(shared, connected, &parts.headers);
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    if !is_same_origin(&parts.headers, authority) {
        return errors::bare(&Failure::not_permitted("This form does not come from the console."));
    }
    let fields = match form(body, &arrival.connected.connection, CODE_BYTES_MAX).await {
        Ok(fields) => fields,
        Err(failure) => return errors::bare(&failure),
    };
    let code = fields.get("code").to_owned();
    if is_in_session_of(&arrival, &parts.headers, &code) {
        return redirect(session::HOME);
    }
    let grant = match open(&arrival, &code) {
        Ok(grant) => grant,
        Err(CodeError::Over) => return over(),
        Err(CodeError::SecretMissing(version)) => return again(&missing(version), None, code),
    };
    // A link of somebody else must not quietly replace the session of an operator.
    let is_operator = arrival.session(&parts.headers).is_some_and(|session| session.portal().is_none());
    if is_operator && fields.get("replace") != "yes" {
        return enter_page(StatusCode::CONFLICT, &grant, code, |page| page.replaces = true);
    }
    start(&arrival, grant, code).await
}

/// Starts the session of a code, unless it has started before.
async fn start(arrival: &Arrival, grant: PortalGrant, code: String) -> Response {
    let connection = &arrival.connected.connection;
    let shared = &arrival.shared;
    let caller = Ok(Credential::of_portal(Arc::new(grant.clone())));
    let context = CallContext::new(caller.clone(), ENTER_PATH, connection);
    let started = shared.admin.start_portal_session(&context, &grant);
    let started = tokio::time::timeout(shared.patience, started).await;
    let started =
        started.map_or_else(|_elapsed| Err(RpcError::DeadlineExceeded.into()), |done| done.map_err(Failure::from));
    let account = match started {
        Ok(account) => account,
        Err(failure) if failure.is_outage() || failure.code == Code::ResourceExhausted => {
            return again(&failure, Some(&grant), code);
        }
        // The caller may not have the session any more, or the code was used.
        Err(failure) if !failure.is_fault() => return over(),
        Err(failure) => return errors::bare(&failure),
    };
    shared.calls.promote(&connection.place, &caller);
    let name = if account.display_name.is_empty() { account.id.as_str() } else { &account.display_name };
    let session = Session::of_portal(arrival.now, grant, name);
    match session.and_then(|session| session.cookie(&shared.keyring, arrival.is_secure)) {
        Ok(cookie) => {
            let mut response = redirect(&show::path(&["accounts", account.id.as_str()]));
            response.headers_mut().append(header::SET_COOKIE, cookie);
            response
        }
        Err(error) => errors::bare(&RpcError::from(error).into()),
    }
}

/// Opens a code. A version of the authority secret that nobody uses is made up.
fn open(arrival: &Arrival, code: &str) -> Result<PortalGrant, CodeError> {
    let shared = &arrival.shared;
    match PortalGrant::open_code(&shared.keyring, code, arrival.now) {
        Err(CodeError::SecretMissing(version))
            if shared.replica.index().missing_secret() != Some(SecretMissing { version }) =>
        {
            Err(CodeError::Over)
        }
        opened => opened,
    }
}

/// Whether the visitor is in the session that the code has started, however old it is.
fn is_in_session_of(arrival: &Arrival, headers: &http::HeaderMap, code: &str) -> bool {
    let session = arrival.session(headers);
    let portal = session.as_ref().and_then(Session::portal);
    let id = PortalGrant::id_of_code(&arrival.shared.keyring, code);
    portal.is_some_and(|portal| Some(portal.grant.id) == id)
}

fn missing(version: u32) -> Failure {
    RpcError::from(SecretMissing { version }).into()
}

fn enter_page(status: StatusCode, grant: &PortalGrant, code: String, set: impl FnOnce(&mut EnterPage)) -> Response {
    let mut page = EnterPage {
        frame: Frame::of_nobody(None, "Open your keys"),
        path: ENTER_PATH,
        subject: grant.subject.as_str().to_owned(),
        account: grant.account.as_str().to_owned(),
        code,
        error: String::new(),
        replaces: false,
        is_sent_at_once: false,
    };
    set(&mut page);
    page_with(status, &page).unwrap_or_else(|failure| errors::bare(&failure))
}

/// Offers to try again: the code is not spent.
fn again(failure: &Failure, grant: Option<&PortalGrant>, code: String) -> Response {
    let page = EnterPage {
        frame: Frame::of_nobody(None, "Not opened yet"),
        path: ENTER_PATH,
        subject: grant.map(|grant| grant.subject.as_str().to_owned()).unwrap_or_default(),
        account: grant.map(|grant| grant.account.as_str().to_owned()).unwrap_or_default(),
        code,
        error: format!("The authority cannot tell right now ({}). Your link is not spent: try again.", failure.message),
        // An operator was asked before this.
        replaces: true,
        is_sent_at_once: false,
    };
    let mut response = page_with(failure.status(), &page).unwrap_or_else(|failure| errors::bare(&failure));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

/// The page for a link that starts no session.
fn over() -> Response {
    let message = "This link was used before, or it is older than a minute. Go back to the page that led you here, and \
                   open your keys from there again.";
    left_page(StatusCode::GONE, "This link is over", message)
}

/// `GET /console/left`
pub(super) async fn left() -> Response {
    let message = "You are signed out. To manage your keys again, go back to the page that led you here.";
    left_page(StatusCode::OK, "Signed out", message)
}

/// The page for a session that has ended. It has ended for good, so the browser forgets it.
pub(super) fn ended(is_secure: bool) -> Response {
    let message = "Your session has ended. What you did before is saved; what you had typed into a form but not sent is not. To continue, go back to the page that led you \
                   here, and open your keys from there again.";
    let mut response = left_page(StatusCode::FORBIDDEN, "Your session has ended", message);
    response.headers_mut().append(header::SET_COOKIE, session::removal(is_secure));
    response
}

fn left_page(status: StatusCode, title: &str, message: &'static str) -> Response {
    let page = LeftPage { frame: Frame::of_nobody(None, title), message };
    page_with(status, &page).unwrap_or_else(|failure| errors::bare(&failure))
}
