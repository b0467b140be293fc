//! Envoy's external authorization: a proxy asks about each request before it lets it through.
//!
//! The question is put together of what the proxy's configuration says of the route, the token that the request carries,
//! and the address that it came from; it is decided by the very functions that decide a Verify. The answer says which
//! headers the request gets, that tell of the key, and which it loses: the token, and whatever its client sent under the
//! names of ours.
//!
//! An error of the call lets a request pass where a proxy is told so (`failure_mode_allow`). So there is none but for an
//! outage and for a caller who may not ask: whatever else is wrong, be it with the request or with the route, is a denial.
//!
//! To take tokens from one more place: a word in `route`, and how to find it there in `credential`.

mod answer;
mod credential;
mod denial;
mod headers;
mod misroutes;
mod route;

use std::net::IpAddr;

use key_authority_domain::verdict::{Question, Verdict};
use key_authority_proto::ext_authz::{AttributeContext, CheckRequest, CheckResponse};

use crate::auth::permit::Permit;
use crate::verify::Verifier;
use crate::wire::violations::{REQUIRED, Violations};
use denial::Denial;
use headers::Headers;
pub use misroutes::Misroutes;
use route::Route;

/// Decides about one request.
#[must_use]
pub fn check(verifier: &Verifier, permit: &Permit, misroutes: &Misroutes, request: &CheckRequest) -> CheckResponse {
    let attributes = request.attributes.as_ref();
    attributes
        .ok_or_else(|| missing("attributes"))
        .and_then(|attributes| allow(verifier, permit, attributes))
        .unwrap_or_else(|denial| {
            if let Denial::Misconfigured(violations) = &denial {
                misroutes.tell(violations, permit.moment().now());
            }
            denial.answer()
        })
}

fn allow(verifier: &Verifier, permit: &Permit, attributes: &AttributeContext) -> Result<CheckResponse, Denial> {
    let http = attributes.request.as_ref().and_then(|request| request.http.as_ref());
    let http = http.ok_or_else(|| missing("attributes.request.http"))?;
    let route = Route::read(&attributes.context_extensions)?;
    let question = route.question()?;

    let headers = Headers::of(http);
    let presented = credential::find(&route.places, &headers, &http.path)?.ok_or(Denial::NoToken)?;
    let question =
        Question { key_id: presented.credential.key_id.as_deref(), client_ip: source(attributes), ..question };
    let index = verifier.read();
    let decided = verifier.decide(&index, permit, &presented.credential.token, &question);
    verifier.count(permit, &decided);
    match decided.secret.map(AsRef::as_ref) {
        Some(secret) if decided.verdict == Verdict::Valid => Ok(answer::allowed(secret, &presented, &headers)),
        secret => Err(Denial::of(decided.verdict, secret, question.scopes)),
    }
}

/// Where the request came from. An address of another kind is none, as if it were not known.
fn source(attributes: &AttributeContext) -> Option<IpAddr> {
    let address = attributes.source.as_ref()?.address.as_ref()?.socket_address.as_ref()?;
    address.address.parse().ok()
}

fn missing(field: &str) -> Denial {
    Violations::one(field, REQUIRED).into()
}
