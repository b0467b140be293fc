//! The decision about one request of a proxy.

use std::net::IpAddr;

use key_authority_proto::ext_authz::attribute_context::HttpRequest;
use key_authority_proto::ext_authz::{AttributeContext, CheckRequest, CheckResponse};
use key_authority_replica::clock::boottime;
use key_authority_replica::index::SecretMissing;

use super::response::{allowed, denied};
use crate::auth::permit::Permit;
use crate::proxied::{Denial, Dialect, Headers, Misroutes, NotAllowed, Route, decide};
use crate::verify::Verifier;
use crate::wire::violations::{REQUIRED, Violations};

/// A route is the `context_extensions` of Envoy's configuration.
const DIALECT: Dialect = Dialect { place: "attributes.context_extensions", scopes: "scopes", separators: &[' ', ','] };

/// Decides about one request.
///
/// # Errors
/// [`SecretMissing`]: this replica cannot decide.
pub(crate) fn check(
    verifier: &Verifier,
    permit: &Permit,
    misroutes: &Misroutes,
    request: &CheckRequest,
) -> Result<CheckResponse, SecretMissing> {
    let attributes = request.attributes.as_ref();
    let allowed =
        attributes.ok_or_else(|| missing("attributes")).and_then(|attributes| allow(verifier, permit, attributes));
    match allowed {
        Ok(response) => Ok(response),
        Err(NotAllowed::Undecided(missing)) => Err(missing),
        Err(NotAllowed::Denied(denial)) => {
            if let Denial::Misconfigured(violations) = &denial
                && misroutes.is_due(boottime())
            {
                tracing::warn!(%violations, "invalid ext_authz route configuration; denying its requests");
            }
            Ok(denied(&denial))
        }
    }
}

fn allow(verifier: &Verifier, permit: &Permit, attributes: &AttributeContext) -> Result<CheckResponse, NotAllowed> {
    let http = attributes.request.as_ref().and_then(|request| request.http.as_ref());
    let http = http.ok_or_else(|| missing("attributes.request.http"))?;
    let extensions = &attributes.context_extensions;
    let route = Route::read(DIALECT, extensions.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
    let headers = headers(http);
    decide((verifier, permit), &route, &headers, &[&http.path], source(attributes), |record, presented| {
        allowed(record, presented, &headers)
    })
}

/// Reads the headers of a request in either form of the protocol.
fn headers(request: &HttpRequest) -> Headers<'_> {
    let joined = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    let raw = request.header_map.iter().flat_map(|map| &map.headers);
    Headers::of(joined.chain(raw.map(|header| (header.key.as_str(), header.raw_value.as_slice()))))
}

/// Returns the address that the request came from. An address that is not an IP address counts as unknown.
fn source(attributes: &AttributeContext) -> Option<IpAddr> {
    let address = attributes.source.as_ref()?.address.as_ref()?.socket_address.as_ref()?;
    address.address.parse().ok()
}

fn missing(field: &str) -> NotAllowed {
    Violations::one(field, REQUIRED).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use key_authority_proto::ext_authz::{HeaderMap, HeaderValue};

    #[test]
    fn both_forms_of_headers_are_equal() {
        let raw = |key: &str, value: &[u8]| HeaderValue {
            key: key.into(),
            raw_value: value.into(),
            ..HeaderValue::default()
        };
        let joined = HttpRequest { headers: [("a".into(), b"1,2".to_vec())].into(), ..HttpRequest::default() };
        let header_map = Some(HeaderMap { headers: vec![raw("A", b"1"), raw("a", b"2")] });
        let one_by_one = HttpRequest { header_map, ..HttpRequest::default() };
        for request in [joined, one_by_one] {
            assert_eq!(headers(&request).get("a").as_deref(), Some("1,2"));
        }
    }
}
