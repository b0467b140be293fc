//! Pages for what cannot be shown or done.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tonic::Code;

use crate::console::answer::{Answer, page_with, pending};
use crate::console::failure::Failure;
use crate::console::fields::Fields;
use crate::console::frame::Frame;
use crate::console::session::Session;
use crate::console::visit::Visit;

/// A header that makes the browser load a page again by itself, without a script.
const REFRESH: HeaderName = HeaderName::from_static("refresh");

#[derive(Template)]
#[template(path = "console/error.html")]
struct ErrorPage {
    frame: Frame,
    message: Vec<Piece>,
    advice: &'static str,
    /// Whether the page loads itself again.
    is_retried: bool,
    /// Where a form was sent to, to send it again; empty for no form.
    path: String,
    fields: Vec<(String, String)>,
}

/// A piece of a message.
struct Piece {
    text: String,
    /// Whether the message has it in backticks: it is a name of the API.
    is_code: bool,
}

/// Returns the pieces of a message.
fn pieces(message: String) -> Vec<Piece> {
    if !message.matches('`').count().is_multiple_of(2) {
        return vec![Piece { text: message, is_code: false }];
    }
    let piece = |(number, text): (usize, &str)| Piece { text: text.to_owned(), is_code: number % 2 == 1 };
    message.split('`').enumerate().map(piece).collect()
}

/// Returns the title of a failure and what to do about it.
fn words(failure: &Failure) -> (&'static str, &'static str) {
    match failure.code {
        Code::NotFound if failure.is_no_page() => ("Not found", ""),
        Code::NotFound => ("Not found", "It may have been deleted."),
        Code::PermissionDenied => ("Not permitted", ""),
        Code::ResourceExhausted if failure.is_too_many_calls() => ("Too many requests", "Try again in some seconds."),
        Code::ResourceExhausted => ("Too many requests", ""),
        // Each form that is sent again has the ID of its request, or has the same effect once more.
        _ if failure.is_outcome_unknown() => {
            ("The connection to the database was lost", "Send the form again: the change is made once.")
        }
        Code::Unavailable => ("This replica cannot tell right now", "Nothing was decided. It usually takes seconds."),
        Code::DeadlineExceeded if failure.pending_revision().is_some() => ("Not confirmed by every replica yet", ""),
        Code::DeadlineExceeded => ("This took too long", "Repeating the form does not make a change twice."),
        Code::Internal | Code::DataLoss | Code::Unknown => ("Something is wrong here", ""),
        _ => ("That did not work", ""),
    }
}

/// Returns the title and the advice for a visitor. Words about replicas are for operators.
fn words_for(failure: &Failure, is_portal: bool) -> (&'static str, &'static str) {
    let (title, advice) = words(failure);
    let title = match failure.code {
        Code::Unavailable if is_portal && failure.is_outcome_unknown() => "The answer was lost",
        Code::Unavailable if is_portal => "This cannot be answered right now",
        Code::DeadlineExceeded if is_portal && failure.pending_revision().is_some() => "Not in force everywhere yet",
        _ => title,
    };
    (title, advice)
}

/// Returns the fields of a form, for a page that sends it again.
fn repeated(fields: &Fields) -> Vec<(String, String)> {
    let sent = fields.pairs().filter(|(name, _)| *name != "form_token");
    sent.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Returns the page of a failure for somebody who is signed in.
pub(in crate::console) fn page(visit: &Visit, failure: &Failure) -> Response {
    let is_form = visit.method == Method::POST;
    let is_repeatable = is_form && (failure.is_outage() || failure.is_too_many_calls());
    let is_portal = visit.session.portal().is_some();
    let (title, advice) = words_for(failure, is_portal);
    let mut frame = Frame::new(visit, title);
    frame.notice = if is_form { pending(visit, "", failure).or(frame.notice) } else { frame.notice };
    let path = visit.path.split('?').next().unwrap_or_default().to_owned();
    if frame.notice.as_ref().is_some_and(|notice| notice.pending.is_some()) {
        "/console/".clone_into(&mut frame.path);
    }
    render(
        failure,
        &ErrorPage {
            frame,
            message: pieces(message(failure, is_portal)),
            advice,
            is_retried: failure.is_outage() && !is_form,
            path: if is_repeatable { path } else { String::new() },
            fields: if is_repeatable { repeated(&visit.fields) } else { Vec::new() },
        },
    )
}

/// Returns what is wrong. The user of a portal knows nothing of the key with which the backend of the product calls,
/// nor of replicas and databases. And nobody makes calls of the API here.
pub(in crate::console) fn message(failure: &Failure, is_portal: bool) -> String {
    if failure.pending_revision().is_some() {
        let missing =
            if is_portal { "it is not in force everywhere yet" } else { "not every replica has confirmed it yet" };
        return format!("The change is saved, but {missing}.");
    }
    let of_portal = match failure.reason.as_str() {
        "KEY_NOT_FOUND" => Some("There is no such key."),
        "ACCOUNT_NOT_FOUND" => Some("There is no such account."),
        "PERMISSION_MISSING" => Some("You may not do this here."),
        "CALLER_NETWORK_DENIED" => Some("Your keys cannot be opened from here."),
        _ if failure.is_outcome_unknown() => None,
        _ if failure.code == Code::DeadlineExceeded => Some("There was no answer in time."),
        _ if failure.is_outage() => Some("Your keys cannot be read or changed at the moment."),
        _ => None,
    };
    of_portal.filter(|_| is_portal).map_or_else(|| failure.sentence(), str::to_owned)
}

/// Returns the page for a form of a session that could not be read before: it offers the form to be sent again.
pub(in crate::console) fn unsent(session: &Session, path: &str, fields: &Fields, failure: &Failure) -> Response {
    let is_portal = session.portal().is_some();
    let (title, advice) = words_for(failure, is_portal);
    render(
        failure,
        &ErrorPage {
            frame: Frame::of_nobody(Some(session), title),
            message: pieces(message(failure, is_portal)),
            advice,
            is_retried: false,
            path: path.to_owned(),
            fields: repeated(fields),
        },
    )
}

/// Returns the page of a failure for somebody whose session is not known, or whose form is not.
pub(in crate::console) fn bare(failure: &Failure) -> Response {
    bare_for(failure, false)
}

/// Returns the same, in words for the user of a portal if the visitor is one.
pub(in crate::console) fn bare_for(failure: &Failure, is_portal: bool) -> Response {
    bare_page(failure, is_portal, false)
}

/// Returns the same for a page, not for a form: if it is an outage, the browser asks for the page again by itself.
pub(in crate::console) fn bare_reloading(failure: &Failure, is_portal: bool) -> Response {
    bare_page(failure, is_portal, failure.is_outage())
}

fn bare_page(failure: &Failure, is_portal: bool, is_retried: bool) -> Response {
    let (title, advice) = words_for(failure, is_portal);
    render(
        failure,
        &ErrorPage {
            frame: Frame::of_nobody(None, title),
            message: pieces(message(failure, is_portal)),
            advice,
            is_retried,
            path: String::new(),
            fields: Vec::new(),
        },
    )
}

fn render(failure: &Failure, page: &ErrorPage) -> Response {
    let is_retried = page.is_retried;
    let mut response = page_with(failure.status(), page).unwrap_or_else(|_| {
        let mut response = Response::new(Body::from("internal error; see the server's log"));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    let is_too_many = response.status() == StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    if failure.is_outage() || is_too_many {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    }
    if is_retried {
        headers.insert(REFRESH, HeaderValue::from_static("2"));
    }
    response
}

/// Returns a page that opens `path` from this site, so that the browser sends the cookie.
pub(in crate::console) fn again(path: &str) -> Response {
    #[derive(Template)]
    #[template(path = "console/again.html")]
    struct AgainPage {
        frame: Frame,
        path: String,
    }

    let page = AgainPage { frame: Frame::of_nobody(None, "Opening the console"), path: path.to_owned() };
    let mut response = page_with(StatusCode::OK, &page).unwrap_or_else(|failure| bare(&failure));
    if let Ok(refresh) = HeaderValue::try_from(format!("0; url={path}")) {
        response.headers_mut().insert(REFRESH, refresh);
    }
    response
}

/// A method that a page does not have.
pub(in crate::console) async fn no_method(_: Extension<Arc<Visit>>) -> Answer {
    Err(Failure::no_method())
}

/// A method that a page for everybody does not have.
pub(in crate::console) async fn no_method_for_nobody() -> Response {
    bare(&Failure::no_method())
}

/// A path that the console does not have.
pub(in crate::console) async fn no_page(_: Extension<Arc<Visit>>) -> Answer {
    Err(Failure::no_page())
}

#[cfg(test)]
mod tests {
    use key_authority_storage::StorageError;

    use super::*;
    use crate::rpc::errors::RpcError;

    #[test]
    fn a_change_with_an_unknown_outcome_is_not_called_undecided() {
        let lost = StorageError::OutcomeUnknown(Box::new(StorageError::ReadOnly));
        let failure = Failure::from(RpcError::Storage(lost));
        let (title, advice) = words(&failure);
        let text = format!("{title}. {} {advice}", failure.sentence());
        assert_eq!(
            text,
            "The connection to the database was lost. It is not known whether the change was made. Send the form \
             again: the change is made once."
        );
        assert!(failure.is_outage(), "its form is offered once more");
        assert_eq!(message(&failure, true), "It is not known whether the change was made.");
    }

    #[test]
    fn users_of_a_portal_read_nothing_of_replicas_and_databases() {
        for error in [StorageError::ReadOnly, StorageError::TimedOut] {
            let failure = Failure::from(RpcError::Storage(error));
            assert!(message(&failure, false).contains("database"));
            assert_eq!(message(&failure, true), "Your keys cannot be read or changed at the moment.");
        }
        // The change may have been made.
        let late = Failure::from(RpcError::DeadlineExceeded);
        assert_eq!(message(&late, true), "There was no answer in time.");
    }
}
