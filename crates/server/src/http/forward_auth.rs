//! `/forward-auth`: whether a request may pass, for proxies that ask by HTTP (nginx `auth_request`, Traefik
//! `forwardAuth`, Caddy `forward_auth`).
//!
//! The proxy forwards the head of the visitor's request with any method. `Authorization` is the visitor's, so the proxy
//! presents its own token in `X-Key-Authority-Caller`. 401 and 403 are denials of the visitor. A proxy that asks wrongly
//! gets 500, and an outage is 503: neither may be mistaken for a denial.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use key_authority_domain::access::Network;
use key_authority_domain::permission::Permission;
use key_authority_replica::clock::boottime;
use key_authority_replica::index::KeyRecord;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::caller::authorize;
use super::reply::{reply, status_of};
use super::session::{Session, Shared};
use crate::auth::credential::CallerToken;
use crate::auth::permit::Permit;
use crate::proxied::{Denial, DenialResponse, Dialect, Headers, NotAllowed, Route, SCOPES, decide, identity_headers};
use crate::rpc::errors::RpcError;
use crate::wire::violations::Violations;

/// A route is the query. A scope has no spaces, so that a parameter may have several.
const DIALECT: Dialect = Dialect { place: "query", scopes: "scope", separators: &[' '] };
/// The body of a denial once more. nginx keeps headers of an `auth_request`, and no body.
const DENIAL: &str = "x-key-authority-denial";
/// The headers in which proxies forward the path of the visitor's request: Traefik and Caddy, nginx by convention.
const PATHS: [&str; 2] = ["x-forwarded-uri", "x-original-uri"];

pub(super) async fn forward_auth(
    State(shared): State<Arc<Shared>>,
    Extension(session): Extension<Session>,
    request: Request,
) -> Response {
    let (parts, _unread) = request.into_parts();
    let place = ("/forward-auth", CallerToken::OwnHeader);
    match authorize(&shared, &session, &parts.headers, place, &[Permission::Verify]) {
        Ok(caller) => answer(&shared, &caller.call.permit, &parts, session.connection.peer.address()),
        Err(error) if error.is_refusal() => refuse_caller(&shared, error),
        Err(error) => failed(error),
    }
}

/// Answers for an outage, which is no denial.
fn failed(error: RpcError) -> Response {
    let status = tonic::Status::from(error);
    reply(status_of(status.code()), &json!({ "error": "unavailable", "message": status.message() }))
}

fn answer(shared: &Shared, permit: &Permit, parts: &Parts, peer: Option<IpAddr>) -> Response {
    let query = parts.uri.query().unwrap_or_default();
    let entries: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let entries = entries.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    let headers = Headers::of(parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
    let paths = PATHS.map(|name| parts.headers.get(name).map_or(&[][..], HeaderValue::as_bytes));
    let visitor = visitor(&parts.headers, peer, &shared.trusted_proxies);
    if headers.has_alias() {
        return deny(&Denial::ReservedHeader);
    }
    let allowed = Route::read(DIALECT, entries).map_err(NotAllowed::from).and_then(|route| {
        decide((&shared.verifier, permit), &route, &headers, &paths, visitor, |record, _| allow(record))
    });
    match allowed {
        Ok(response) => response,
        Err(NotAllowed::Undecided(missing)) => failed(missing.into()),
        Err(NotAllowed::Denied(Denial::Misconfigured(violations))) => misconfigured(shared, &violations),
        Err(NotAllowed::Denied(denial)) => deny(&denial),
    }
}

/// Lets a request pass, with headers that describe the key.
fn allow(record: &KeyRecord) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    // Always set: a proxy that copies headers must not keep the one of the visitor.
    headers.insert(HeaderName::from_static(SCOPES), HeaderValue::from_static(""));
    for (name, value) in identity_headers(record) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    response
}

fn deny(denial: &Denial) -> Response {
    let DenialResponse { status, challenge, body, .. } = denial.response();
    let mut response = reply(StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN), &body);
    let headers = response.headers_mut();
    if let Some(Ok(challenge)) = challenge.map(HeaderValue::try_from) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Ok(denial) = HeaderValue::try_from(ascii_json(&body)) {
        headers.insert(HeaderName::from_static(DENIAL), denial);
    }
    response
}

/// Formats JSON on one line of ASCII, which a header may have as its value.
fn ascii_json(value: &Value) -> String {
    let mut text = String::new();
    for character in value.to_string().chars() {
        if character.is_ascii_graphic() || character == ' ' {
            text.push(character);
        } else {
            let mut units = [0; 2];
            text.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    text
}

/// Answers a proxy whose query is wrong. The body names the mistake for the operator, and never a value.
fn misconfigured(shared: &Shared, violations: &Violations) -> Response {
    if shared.misroutes.is_due(boottime()) {
        tracing::warn!(%violations, "invalid forward-auth query; answering 500");
    }
    let message = format!("the proxy is misconfigured: {violations}");
    reply(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": "misconfigured", "message": message }))
}

/// Answers a proxy that may not ask. It is no denial of the visitor.
fn refuse_caller(shared: &Shared, error: RpcError) -> Response {
    let (code, reason) = error.code();
    if shared.misroutes.is_due(boottime()) {
        tracing::warn!(?code, reason, "forward-auth caller refused; answering 500");
    }
    let status = tonic::Status::from(error);
    let message =
        format!("the proxy may not ask: {}; the proxy's own token belongs in X-Key-Authority-Caller", status.message());
    reply(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": "caller_refused", "message": message }))
}

/// Returns the address of the visitor: the last one of `X-Forwarded-For` that is not a trusted proxy's, if the peer is
/// one. An address that cannot be read hides those before it, which the visitor may have made up.
pub(crate) fn visitor(headers: &HeaderMap, peer: Option<IpAddr>, trusted: &[Network]) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    peer.filter(|peer| is_trusted(*peer))?;
    let values: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    for value in values.into_iter().rev() {
        for entry in value.to_str().ok()?.rsplit(',') {
            let address = address(entry.trim())?;
            if !is_trusted(address) {
                return Some(address);
            }
        }
    }
    None
}

/// Parses an address, with or without a port.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().ok().or_else(|| entry.parse().ok().map(|address: SocketAddr| address.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_a_header_is_ascii_and_means_the_same() {
        let value = json!({ "missing_scopes": ["é", "😀", "a\u{7f}\nb"], "message": "plain" });
        let text = ascii_json(&value);
        assert!(HeaderValue::try_from(&text).is_ok() && text.is_ascii(), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn the_visitor_is_the_last_address_that_is_not_trusted() {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| Network::new(network).unwrap());
        let seen = |peer: &str, values: &[&'static str]| {
            let headers = values
                .iter()
                .map(|value| (HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static(value)));
            visitor(&headers.collect(), Some(peer.parse().unwrap()), &trusted).map(|address| address.to_string())
        };
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, 2.2.2.2, 10.9.9.9"]).as_deref(), Some("2.2.2.2"));
        assert_eq!(seen("10.0.0.1", &["1.1.1.1", "2.2.2.2,10.1.1.1", "10.2.2.2"]).as_deref(), Some("2.2.2.2"));
        assert_eq!(seen("fd00::1", &["2001:db8::7"]).as_deref(), Some("2001:db8::7"));
        assert_eq!(seen("10.0.0.1", &["[2001:db8::7]:443"]).as_deref(), Some("2001:db8::7"));
        assert_eq!(seen("10.0.0.1", &["[2001:db8::7]"]).as_deref(), Some("2001:db8::7"));
        assert_eq!(seen("10.0.0.1", &["3.3.3.3:1234"]).as_deref(), Some("3.3.3.3"));
        assert_eq!(seen("10.0.0.1", &["::ffff:3.3.3.3"]).as_deref(), Some("3.3.3.3"));
        // The peer is a stranger, or every address is a proxy's, or one cannot be read.
        assert_eq!(seen("9.9.9.9", &["1.1.1.1"]), None);
        assert_eq!(seen("10.0.0.1", &["10.1.1.1"]), None);
        assert_eq!(seen("10.0.0.1", &[]), None);
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, unknown, 10.1.1.1"]), None);
        assert_eq!(seen("10.0.0.1", &["1.1.1.1,"]), None);
    }
}
