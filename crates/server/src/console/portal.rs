//! The entrance and the exit of portal sessions.
//!
//! A product's backend gets a link from `CreatePortalSession`, and sends the browser of its user there. The link shows
//! a page that sends its code by a form: a script does it at once, and without scripts there is a button.
//!
//! - Following the link must not use the code up, since browsers and mail programs follow links ahead of their users.
//!   Only the POST does.
//! - A cookie with `SameSite=Strict` is not sent along a chain of redirects that began on another site, so a redirect
//!   from the product straight to the keys would arrive without its session. The form begins a chain on this site.
//! - The form has a token, and the browser a cookie with it, so that only the browser that has opened the page can send
//!   the code. A page of another site cannot, not even over clear text, where browsers do not say which site sends a
//!   form. And if the answer is lost, this browser can repeat the form, and another one cannot.
//! - The code is in the address of that one page. Pages send no referrer, and neither logs nor traces have addresses.

use std::sync::Arc;

use askama::Template;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use key_authority_replica::index::SecretMissing;
use tokio::time::timeout;
use tonic::Code;

use super::answer::{page_with, redirect};
use super::arrival::{Arrival, form};
use super::failure::Failure;
use super::fields::Fields;
use super::frame::Frame;
use super::origin::is_same_origin;
use super::pages::errors;
use super::session::{self, Session};
use super::show;
use crate::admin::portal::ENTER_PATH;
use crate::auth::call::CallContext;
use crate::auth::credential::Credential;
use crate::auth::portal::{CodeError, PortalGrant};
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
    /// Whether the form replaces the session of somebody else.
    replaces: bool,
    /// Whose session it replaces; empty for an operator.
    replaced_subject: String,
    replaced_account: String,
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
pub(super) async fn ask(arrival: Arrival, request: Request) -> Response {
    let code = Fields::parse(request.uri().query().unwrap_or_default().as_bytes()).get("code").to_owned();
    let grant = match open(&arrival, &code) {
        // Going back leads to this page, and its code was used.
        _ if is_in_session_of(&arrival, request.headers(), &code) => return redirect(session::HOME),
        Ok(grant) => grant,
        Err(CodeError::Invalid) => return invalid_link(),
        Err(CodeError::SecretMissing(version)) => return errors::bare_reloading(&missing(version), true),
    };
    let entrance = arrival.entrance_session(request.headers());
    enter_page(&arrival, entrance, (StatusCode::OK, Some(&grant)), code, |page| page.is_sent_at_once = true)
}

/// `POST /console/enter`
pub(super) async fn submit(arrival: Arrival, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    if !is_same_origin(&parts.headers, authority) {
        return errors::bare(&Failure::foreign_form("This form does not come from the console."));
    }
    let fields = match form(body, &arrival.connected.connection, CODE_BYTES_MAX).await {
        Ok(fields) => fields,
        Err(failure) => return errors::bare(&failure),
    };
    let code = fields.get("code").to_owned();
    if is_in_session_of(&arrival, &parts.headers, &code) {
        return redirect(session::HOME);
    }
    let replaces = fields.get("replace") == "yes";
    let entrance = arrival.entrance_session(&parts.headers);
    let grant = match open(&arrival, &code) {
        Ok(grant) => grant,
        Err(CodeError::Invalid) => {
            note_late(&arrival, &code);
            return forget_entrance(&arrival, invalid_link());
        }
        Err(CodeError::SecretMissing(version)) => {
            return again(&arrival, entrance, &missing(version), None, (code, replaces));
        }
    };
    // Without this, a page of another site could sign its visitor in to an account of its own: over clear text,
    // browsers do not say where a form comes from.
    let is_own = |entrance: &Session| entrance.is_form_token(fields.get("form_token"));
    let Some(entrance) = entrance.filter(is_own) else {
        return enter_page(&arrival, None, (StatusCode::FORBIDDEN, Some(&grant)), code, |page| {
            "The page had expired, or cookies are off.".clone_into(&mut page.error);
        });
    };
    if arrival.shared.ended.has_ended(grant.id) {
        arrival.shared.calls.note_refusal(&context(&arrival, &grant), &RpcError::RequestIdReused);
        return forget_entrance(&arrival, invalid_link());
    }
    let current = arrival.session(&parts.headers);
    if let Some(current) = &current
        && !replaces
        && !is_of_same_user(current, &grant)
    {
        // A link of somebody else must not quietly replace a session.
        return enter_page(&arrival, Some(entrance), (StatusCode::CONFLICT, Some(&grant)), code, |page| {
            page.replaces = true;
            if let Some(portal) = current.portal() {
                portal.grant.subject.as_str().clone_into(&mut page.replaced_subject);
                portal.account_name.clone_into(&mut page.replaced_account);
            }
        });
    }
    // A start is a request of its user as well, and waits for the others.
    let shared = Arc::clone(&arrival.shared);
    let waited = timeout(arrival.remaining(), shared.portal_requests.acquire(grant.user())).await;
    let Ok(Some(_in_progress)) = waited else {
        let refused = Failure::too_many_requests();
        return again(&arrival, Some(entrance), &refused, Some(&grant), (code, replaces));
    };
    start(&arrival, (entrance, current), grant, (code, replaces)).await
}

/// Whether a session is of the user and the account of a grant.
fn is_of_same_user(session: &Session, grant: &PortalGrant) -> bool {
    let user = |grant: &PortalGrant| (grant.account.clone(), grant.subject.clone());
    session.portal().is_some_and(|portal| user(&portal.grant) == user(grant))
}

/// Starts the session of a code, unless it has started before in another browser.
async fn start(
    arrival: &Arrival,
    (entrance, current): (Session, Option<Session>),
    grant: PortalGrant,
    (code, replaces): (String, bool),
) -> Response {
    let connection = &arrival.connected.connection;
    let shared = &arrival.shared;
    let context = context(arrival, &grant);
    let browser = entrance.form_digest();
    let started = shared.admin.start_portal_session(&context, &grant, &browser);
    let started = timeout(arrival.remaining(), started).await;
    let started =
        started.map_or_else(|_elapsed| Err(RpcError::DeadlineExceeded.into()), |done| done.map_err(Failure::from));
    let account = match started {
        Ok(account) => account,
        Err(failure) if failure.is_outage() || failure.code == Code::ResourceExhausted => {
            return again(arrival, Some(entrance), &failure, Some(&grant), (code, replaces));
        }
        // The caller may not have the session any more, or the code was used.
        Err(failure) if !failure.is_fault() => return forget_entrance(arrival, invalid_link()),
        Err(failure) => return errors::bare(&failure),
    };
    shared.calls.promote(&connection.place, &Ok(Credential::of_portal(Arc::new(grant.clone()))));
    let name = if account.display_name.is_empty() { account.id.as_str() } else { &account.display_name };
    let session = Session::of_portal(arrival.now, grant, name);
    let cookie = match session.and_then(|session| session.cookie(&shared.keyring, arrival.is_secure)) {
        Ok(cookie) => cookie,
        Err(error) => return errors::bare(&RpcError::from(error).into()),
    };
    // The browser forgets the session that this one replaces. A copy of its cookie must not outlive it.
    if let Some(current) = &current {
        shared.ended.end(current);
    }
    // The session of the link's page stays: another tab may have the page of another link. It ends by its age, when the
    // user signs out, or when a link is refused.
    let mut response = redirect(&show::path(&["accounts", account.id.as_str()]));
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

/// Returns the context of a call by the user of a grant.
fn context(arrival: &Arrival, grant: &PortalGrant) -> CallContext {
    let credential = Credential::of_portal(Arc::new(grant.clone()));
    CallContext::new(Ok(credential), ENTER_PATH, &arrival.connected.connection)
}

/// Logs that a code was presented after its end.
fn note_late(arrival: &Arrival, code: &str) {
    if let Some(grant) = PortalGrant::open_code_ignoring_expiry(&arrival.shared.keyring, code) {
        let late = RpcError::Unauthenticated("the link to the portal session has expired");
        arrival.shared.calls.note_refusal(&context(arrival, &grant), &late);
    }
}

/// Adds the removal of the entrance's cookie: the link was decided on.
fn forget_entrance(arrival: &Arrival, mut response: Response) -> Response {
    response.headers_mut().append(header::SET_COOKIE, session::ENTRANCE_COOKIE.removal(arrival.is_secure));
    response
}

/// Opens a code. A version of the authority secret that nobody uses is made up.
fn open(arrival: &Arrival, code: &str) -> Result<PortalGrant, CodeError> {
    let shared = &arrival.shared;
    match PortalGrant::open_code(&shared.keyring, code, arrival.now) {
        Err(CodeError::SecretMissing(version))
            if shared.replica.index().missing_secret() != Some(SecretMissing { version }) =>
        {
            Err(CodeError::Invalid)
        }
        opened => opened,
    }
}

/// Whether the visitor is in the session that the code has started, however old it is.
fn is_in_session_of(arrival: &Arrival, headers: &http::HeaderMap, code: &str) -> bool {
    let session = arrival.session(headers);
    let portal = session.as_ref().and_then(Session::portal);
    let grant = PortalGrant::open_code_ignoring_expiry(&arrival.shared.keyring, code);
    portal.zip(grant).is_some_and(|(portal, grant)| portal.grant.id == grant.id)
}

fn missing(version: u32) -> Failure {
    RpcError::from(SecretMissing { version }).into()
}

/// Returns the page that sends a code, with a form of this browser alone.
fn enter_page(
    arrival: &Arrival,
    entrance: Option<Session>,
    (status, grant): (StatusCode, Option<&PortalGrant>),
    code: String,
    set: impl FnOnce(&mut EnterPage),
) -> Response {
    let entrance = arrival.begun(entrance);
    let entrance = entrance
        .and_then(|entrance| Ok((entrance.entrance_cookie(&arrival.shared.keyring, arrival.is_secure)?, entrance)));
    let (cookie, entrance) = match entrance {
        Ok(entrance) => entrance,
        Err(error) => return errors::bare(&RpcError::from(error).into()),
    };
    let mut page = EnterPage {
        frame: Frame::of_nobody(Some(&entrance), "Open your keys"),
        path: ENTER_PATH,
        subject: grant.map(|grant| grant.subject.as_str().to_owned()).unwrap_or_default(),
        account: grant.map(|grant| grant.account.as_str().to_owned()).unwrap_or_default(),
        code,
        error: String::new(),
        replaces: false,
        replaced_subject: String::new(),
        replaced_account: String::new(),
        is_sent_at_once: false,
    };
    set(&mut page);
    let mut response = page_with(status, &page).unwrap_or_else(|failure| errors::bare(&failure));
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

/// Offers to try again. Whether the session has started is not known; if it has, this browser gets it all the same.
fn again(
    arrival: &Arrival,
    entrance: Option<Session>,
    failure: &Failure,
    grant: Option<&PortalGrant>,
    (code, replaces): (String, bool),
) -> Response {
    let mut response = enter_page(arrival, entrance, (failure.status(), grant), code, |page| {
        "Your keys could not be opened yet".clone_into(&mut page.frame.title);
        page.error = format!(
            "{} Try again: in this browser, the link works until it is a minute old.",
            errors::message(failure, true)
        );
        page.replaces = replaces;
    });
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

/// The page for a link that starts no session.
fn invalid_link() -> Response {
    let message = "This link was used before, it is older than a minute, or it was not copied completely. Go back to \
                   the page that led you here, and open your keys from there again.";
    left_page(StatusCode::GONE, "This link no longer works", message)
}

/// `GET /console/left`
pub(super) async fn left() -> Response {
    let message = "You are signed out. To manage your keys again, go back to the page that led you here.";
    left_page(StatusCode::OK, "Signed out", message)
}

/// The page for a session that has ended, after a form or not. It has ended for good, so the browser forgets it.
pub(super) fn ended(is_secure: bool, is_form: bool) -> Response {
    let message = if is_form {
        "Your session has ended. The form that you have just sent changed nothing. To continue, go back to the page \
         that led you here, and open your keys from there again."
    } else {
        "Your session has ended. What you did before is saved; what you had typed into a form but not sent is not. To \
         continue, go back to the page that led you here, and open your keys from there again."
    };
    let mut response = left_page(StatusCode::FORBIDDEN, "Your session has ended", message);
    response.headers_mut().append(header::SET_COOKIE, session::SESSION_COOKIE.removal(is_secure));
    response.headers_mut().append(header::SET_COOKIE, session::ENTRANCE_COOKIE.removal(is_secure));
    response
}

fn left_page(status: StatusCode, title: &str, message: &'static str) -> Response {
    let page = LeftPage { frame: Frame::of_nobody(None, title), message };
    page_with(status, &page).unwrap_or_else(|failure| errors::bare(&failure))
}
