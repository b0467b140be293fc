//! Signing in with the token of a key of account `system`, and signing out.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use key_authority_replica::clock::boottime;
use tonic::Code;

use super::answer::{local, page_with, redirect};
use super::arrival::{Arrival, SIGN_IN_BYTES_MAX, checked_form, form};
use super::failure::Failure;
use super::fields::Fields;
use super::frame::Frame;
use super::origin::is_by_own_page;
use super::pages::errors;
use super::portal;
use super::session::{self, Session};
use super::show;
use super::visit::Visit;
use crate::auth::call::CallContext;
use crate::auth::credential::Credential;
use crate::rpc::errors::RpcError;

/// Why somebody is asked to sign in.
pub(super) enum Prompt {
    /// The page is for people who are signed in.
    Required,
    /// The caller's key has ended.
    Ended(String),
}

#[derive(Template)]
#[template(path = "console/sign_in.html")]
struct SignInPage {
    frame: Frame,
    /// What went wrong; empty for nothing.
    error: String,
    /// Why the visitor is asked.
    reason: String,
    to: String,
    kept_path: String,
    kept: String,
}

#[derive(Template)]
#[template(path = "console/kept.html")]
struct KeptPage {
    frame: Frame,
    path: String,
    fields: Vec<(String, String)>,
}

/// The error of a page that cannot be used any longer.
const EXPIRED: &str = "The page had expired, or cookies are off. Try again.";
/// The error of a token that signs nobody in.
const NOT_VALID: &str =
    "This is not a valid token of a key of account system. Enter the token itself, not the name of its file.";
/// The fields of a form that are never kept.
const NOT_KEPT: &[&str] = &["form_token", "token"];

/// `GET /console/sign-in`
pub(super) async fn ask(arrival: Arrival, request: Request) -> Response {
    let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
    let reason = match query.get("why") {
        "ended" => "Your session has ended, because its key is not valid any more.",
        "out" => "You are signed out.",
        _ => "",
    };
    let session = arrival.sign_in_session(request.headers());
    show_form(&arrival, session, |frame| SignInPage {
        frame,
        error: String::new(),
        reason: reason.to_owned(),
        to: local(query.get("to")).to_owned(),
        kept_path: String::new(),
        kept: String::new(),
    })
}

/// Asks to sign in, and keeps the form that somebody sent without a session; `None` for one that cannot be kept.
/// The session of the sign-in page stays the same, for the pages of other tabs.
pub(super) fn keep(
    arrival: &Arrival,
    session: Option<Session>,
    path: &str,
    kept: Option<&Fields>,
    prompt: &Prompt,
) -> Response {
    let (why, what_to_do) = match prompt {
        Prompt::Required => ("Your session has ended.", "Sign in again"),
        Prompt::Ended(why) => (why.as_str(), "Sign in with another token"),
    };
    let is_lost = kept.is_none();
    let kept = kept.map(|kept| kept.encoded_without(NOT_KEPT)).unwrap_or_default();
    let reason = if is_lost {
        format!("{why} The form that you sent could not be kept, and changed nothing. {what_to_do}.")
    } else if kept.is_empty() {
        format!("{why} {what_to_do}.")
    } else {
        format!("{why} {what_to_do}; what you typed is kept.")
    };
    let mut response = show_form(arrival, session, |frame| SignInPage {
        frame,
        error: String::new(),
        reason,
        to: local(path).to_owned(),
        kept_path: if kept.is_empty() { String::new() } else { local(path).to_owned() },
        kept,
    });
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
}

/// Shows the form, in a session for its form token.
fn show_form(arrival: &Arrival, session: Option<Session>, page: impl FnOnce(Frame) -> SignInPage) -> Response {
    let begun = arrival
        .begun(session)
        .and_then(|session| Ok((session.cookie(&arrival.shared.keyring, arrival.is_secure)?, session)));
    let (cookie, session) = match begun {
        Ok(begun) => begun,
        Err(error) => return errors::bare(&RpcError::from(error).into()),
    };
    let page = page(Frame::of_nobody(Some(&session), "Sign in"));
    let status = if page.error.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let mut response = page_with(status, &page).unwrap_or_else(|failure| errors::bare(&failure));
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

/// Returns the form of the page to sign in, with the session of that page; otherwise the page once more, with the form
/// that it keeps. The page may have been open for too long, or the browser may have opened another one since.
async fn sign_in_form(arrival: &Arrival, parts: &Parts, body: Body) -> Result<(Session, Fields), Box<Response>> {
    let session = arrival.sign_in_session(&parts.headers);
    let refused = |failure: Failure| Box::new(errors::bare(&failure));
    if !is_by_own_page(&parts.headers) {
        // What another site may have sent is not shown.
        let Some(session) = session else { return Err(again(arrival, None, &Fields::default(), EXPIRED).into()) };
        return match checked_form(arrival, &session, parts, body).await {
            Ok(fields) => Ok((session, fields)),
            Err(failure) if failure.is_foreign_form() => {
                Err(again(arrival, Some(session), &Fields::default(), EXPIRED).into())
            }
            Err(failure) => Err(refused(failure)),
        };
    }
    let fields = form(body, &arrival.connected.connection, SIGN_IN_BYTES_MAX).await.map_err(refused)?;
    match session {
        Some(session) if session.is_form_token(fields.get("form_token")) => Ok((session, fields)),
        session => Err(again(arrival, session, &fields, EXPIRED).into()),
    }
}

/// `POST /console/sign-in`
pub(super) async fn submit(arrival: Arrival, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (session, fields) = match sign_in_form(&arrival, &parts, body).await {
        Ok(form) => form,
        Err(response) => return *response,
    };
    let connection = &arrival.connected.connection;
    let token = fields.get("token").trim();
    if token.is_empty() {
        return again(&arrival, Some(session), &fields, "Enter a token.");
    }
    let authentication = Credential::of_token(&arrival.shared.keyring, token, connection.peer.address());
    let context = CallContext::new(authentication.clone(), "/console/sign-in", connection);
    let digests = authentication.as_ref().ok().and_then(|credential| credential.digests().cloned());
    match (arrival.authorize(&authentication), digests) {
        (Ok(_permit), Some(digests)) => {
            arrival.shared.calls.promote(&connection.place, &authentication);
            let response = enter(&arrival, &fields, &digests);
            // The browser forgets the session that this one replaces. A copy of its cookie must not outlive it.
            if let Some(replaced) = arrival.session(&parts.headers) {
                arrival.shared.ended.end(&replaced);
            }
            response
        }
        (Ok(_), None) => again(&arrival, Some(session), &fields, NOT_VALID),
        (Err(error), _) => {
            let (code, _) = error.code();
            if code == Code::Unauthenticated
                && let Err(wait) = arrival.shared.failures.fail(arrival.address, boottime())
            {
                return too_many(&arrival, session, &fields, wait.as_secs() + 1);
            }
            let message = match &error {
                RpcError::Unauthenticated(_) => NOT_VALID.to_owned(),
                error if code == Code::Unavailable => {
                    format!("{} Try again in some seconds.", super::failure::sentence(&error.message()))
                }
                error => super::failure::sentence(&error.message()),
            };
            let mut response = again(&arrival, Some(session), &fields, &message);
            if let Err(status) = arrival.shared.calls.answer(&context, Err::<(), _>(error))
                && status.code() == Code::Unavailable
            {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            response
        }
    }
}

/// Begins the session, and returns to where the visitor was.
fn enter(arrival: &Arrival, fields: &Fields, digests: &[key_authority_domain::token::TokenDigest]) -> Response {
    let keyring = &arrival.shared.keyring;
    let begun = Session::of_operator(arrival.now, digests)
        .and_then(|session| Ok((session.cookie(keyring, arrival.is_secure)?, session)));
    let (cookie, session) = match begun {
        Ok(begun) => begun,
        Err(error) => return errors::bare(&RpcError::from(error).into()),
    };
    let kept = Fields::parse(fields.get("kept").as_bytes());
    let path = local(fields.get("kept_path"));
    let mut response = if kept.pairs().next().is_some() {
        let frame = Frame::of_nobody(Some(&session), "Continue");
        let pairs = kept.pairs().filter(|(name, _)| !NOT_KEPT.contains(name));
        let fields = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let page = page_with(StatusCode::OK, &KeptPage { frame, path: path.to_owned(), fields });
        page.unwrap_or_else(|failure| errors::bare(&failure))
    } else {
        redirect(local(fields.get("to")))
    };
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

fn again(arrival: &Arrival, session: Option<Session>, fields: &Fields, error: &str) -> Response {
    show_form(arrival, session, |frame| SignInPage {
        frame,
        error: error.to_owned(),
        reason: String::new(),
        to: local(fields.get("to")).to_owned(),
        kept_path: fields.get("kept_path").to_owned(),
        kept: fields.get("kept").to_owned(),
    })
}

fn too_many(arrival: &Arrival, session: Session, fields: &Fields, seconds: u64) -> Response {
    let wait = show::plural(seconds, "second");
    let message = format!("Too many sign-ins from your address have failed. Try again in {wait}.");
    let mut response = again(arrival, Some(session), fields, &message);
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// `POST /console/sign-out`
pub(super) async fn sign_out(Extension(visit): Extension<Arc<Visit>>) -> Response {
    visit.shared.ended.end(&visit.session);
    let is_portal = visit.session.portal().is_some();
    let mut response = redirect(if is_portal { portal::LEFT_PATH } else { "/console/sign-in?why=out" });
    response.headers_mut().append(header::SET_COOKIE, session::SESSION_COOKIE.removal(visit.is_secure));
    if is_portal {
        // With it, this browser could start the session of the same link once more.
        response.headers_mut().append(header::SET_COOKIE, session::ENTRANCE_COOKIE.removal(visit.is_secure));
    }
    response
}
