//! Responses: pages, and redirects to the next one.

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use key_authority_proto::v1::Propagation;
use url::Url;

use super::failure::Failure;
use super::notice::{self, Notice};
use super::show;
use super::visit::Visit;
use crate::rpc::errors::RpcError;

/// The response of a handler.
pub(super) type Answer = Result<Response, Failure>;

/// Returns a page.
pub(super) fn page(template: &impl Template) -> Answer {
    page_with(StatusCode::OK, template)
}

/// Returns a page with another status.
pub(super) fn page_with(status: StatusCode, template: &impl Template) -> Answer {
    let text = template.render().map_err(|error| {
        tracing::error!(%error, "cannot render a page of the console");
        Failure::from(tonic::Status::internal("internal error; see the server's log"))
    })?;
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    Ok(response)
}

/// Returns a redirect to a page of the console.
pub(super) fn redirect(to: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let to = HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/console/"));
    response.headers_mut().insert(header::LOCATION, to);
    response
}

/// Returns a redirect to a page that says what a change did.
pub(super) fn redirect_with(visit: &Visit, to: &str, notice: &Notice) -> Answer {
    let mut response = redirect(to);
    let cookie = notice.cookie(&visit.shared.keyring, &visit.session, visit.now, visit.is_secure);
    let cookie = cookie.map_err(RpcError::from)?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Ends a change: redirects to a page that says what it did, also if not every replica has confirmed it yet.
pub(super) fn finish(visit: &Visit, to: &str, what: &str, outcome: Result<Option<Propagation>, Failure>) -> Answer {
    let notice = match outcome {
        Ok(Some(propagation)) => Notice::plain(&format!("{what} {}", enforced(visit, &propagation))),
        Ok(None) => Notice::plain(&format!("{what} Nothing had to change.")),
        Err(failure) => match pending(visit, what, &failure) {
            Some(notice) => notice,
            None => return Err(failure),
        },
    };
    redirect_with(visit, to, &notice)
}

/// Returns the line about the enforcement of a change. Users of a product know nothing of replicas.
pub(super) fn enforced(visit: &Visit, propagation: &Propagation) -> String {
    match visit.session.portal() {
        Some(_) => "It is in force everywhere.".to_owned(),
        None => notice::enforced(propagation),
    }
}

/// Returns the notice of a change that is committed, but not confirmed; `None` for any other failure.
pub(super) fn pending(visit: &Visit, what: &str, failure: &Failure) -> Option<Notice> {
    let notice = Notice::pending(what, failure)?;
    if visit.session.portal().is_none() {
        return Some(notice);
    }
    // Without the revision: it counts the changes of all accounts.
    let from = failure.metadata("safe_after").map(show::exact_of_text).unwrap_or_default();
    let text = format!("{what} The change is saved. It is in force everywhere from {from} on, and maybe earlier.");
    Some(Notice::plain(&text))
}

/// Returns `to` if it is a path of the console, otherwise the first page.
pub(super) fn local(to: &str) -> &str {
    let is_path = to.starts_with("/console/") && to.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path && stays_in_console(to) { to } else { "/console/" }
}

/// Whether a path leads to the console after a browser has resolved its dots, also those that are written as `%2e`.
fn stays_in_console(path: &str) -> bool {
    let resolved = Url::parse("http://console").and_then(|base| base.join(path));
    resolved.is_ok_and(|url| url.path().starts_with("/console/"))
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn redirects_stay_in_the_console() {
        assert_eq!(local("/console/keys/a?x=1"), "/console/keys/a?x=1");
        assert_eq!(local("/console/keys/../audit?x=/../../y"), "/console/keys/../audit?x=/../../y");
        let above = ["/console/../openapi.json", "/console/a/%2e%2E/../../x", "/console/..\\x", "/console/.."];
        let elsewhere =
            ["", "//evil.example", "https://evil.example/console/", "/console/a b", "/console/\r\nx", "/other"];
        for to in elsewhere.into_iter().chain(above) {
            assert_eq!(local(to), "/console/", "{to}");
        }
    }
}
