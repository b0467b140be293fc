//! The decision about one request of a proxy.

use std::net::IpAddr;

use key_authority_domain::verdict::{Question, Verdict};
use key_authority_proto::ext_authz::{AttributeContext, CheckRequest, CheckResponse};
use key_authority_replica::index::SecretMissing;

use super::denial::AuthzDenial;
use super::headers::Headers;
use super::misroutes::Misroutes;
use super::route::Route;
use crate::auth::permit::Permit;
use crate::verify::Verifier;
use crate::wire::violations::{REQUIRED, Violations};

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
    let allowed = match request.attributes.as_ref() {
        Some(attributes) => allow(verifier, permit, attributes),
        None => Err(missing("attributes")),
    };
    allowed.unwrap_or_else(|denial| {
        if let AuthzDenial::Misconfigured(violations) = &denial {
            misroutes.report(violations, permit.lease().now());
        }
        Ok(denial.response())
    })
}

/// Returns the response for a valid token; within it, that this replica cannot decide.
fn allow(
    verifier: &Verifier,
    permit: &Permit,
    attributes: &AttributeContext,
) -> Result<Result<CheckResponse, SecretMissing>, AuthzDenial> {
    let http = attributes.request.as_ref().and_then(|request| request.http.as_ref());
    let http = http.ok_or_else(|| missing("attributes.request.http"))?;
    let route = Route::read(&attributes.context_extensions)?;
    let question = route.question()?;

    let headers = Headers::of(http);
    let presented = super::credential::find(&route.places, &headers, &http.path)?.ok_or(AuthzDenial::NoToken)?;
    let question =
        Question { key_id: presented.credential.key_id.as_deref(), client_ip: source(attributes), ..question };
    let index = verifier.read();
    let decision = match verifier.decide(&index, permit, &presented.credential.token, &question) {
        Ok(decision) => decision,
        Err(missing) => return Ok(Err(missing)),
    };
    verifier.count(permit, &decision);
    match decision.key.map(AsRef::as_ref) {
        Some(record) if decision.verdict == Verdict::Valid => {
            Ok(Ok(super::response::allowed(record, &presented, &headers)))
        }
        record => Err(AuthzDenial::of(decision.verdict, record, question.scopes)),
    }
}

/// Returns the address that the request came from. An address that is not an IP address counts as unknown.
fn source(attributes: &AttributeContext) -> Option<IpAddr> {
    let address = attributes.source.as_ref()?.address.as_ref()?.socket_address.as_ref()?;
    address.address.parse().ok()
}

fn missing(field: &str) -> AuthzDenial {
    Violations::one(field, REQUIRED).into()
}
