//! The response for the proxy: the headers to add and what to remove, or the denial for the client.

use key_authority_proto::ext_authz::check_response::HttpResponse;
use key_authority_proto::ext_authz::header_value_option::HeaderAppendAction;
use key_authority_proto::ext_authz::{
    CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpStatus, OkHttpResponse, Status,
};
use key_authority_replica::index::KeyRecord;
use tonic::Code;

use crate::proxied::{Denial, DenialResponse, Headers, Presented, SCOPES, identity_headers};

/// Allows a request. Its upstream gets headers that describe the key, and not the credential.
pub(super) fn allowed(record: &KeyRecord, presented: &Presented<'_>, headers: &Headers<'_>) -> CheckResponse {
    let identity = identity_headers(record);
    // The proxy removes headers after it has set others, so a name that is set must not be removed; setting it replaces
    // the client's value. A name that could be set but is not is removed, even if the proxy did not report that the
    // client sent it.
    let reserved = headers.reserved().chain([SCOPES]).filter(|name| !identity.contains_key(*name));
    let ok = OkHttpResponse {
        headers_to_remove: presented.headers.iter().copied().chain(reserved).map(str::to_owned).collect(),
        query_parameters_to_remove: presented.parameter.into_iter().map(str::to_owned).collect(),
        headers: identity.into_iter().map(|(name, value)| set(name, value)).collect(),
    };
    CheckResponse { status: Some(Status::default()), http_response: Some(HttpResponse::OkResponse(ok)) }
}

/// Denies a request.
pub(super) fn denied(denial: &Denial) -> CheckResponse {
    let DenialResponse { status, text, challenge, body } = denial.response();
    let mut headers = vec![set("content-type", "application/json")];
    headers.extend(challenge.map(|challenge| set("www-authenticate", challenge)));
    let message = if let Denial::Misconfigured(violations) = denial { violations.to_string() } else { text.into() };
    let denied =
        DeniedHttpResponse { status: Some(HttpStatus { code: status.into() }), headers, body: body.to_string() };
    CheckResponse {
        status: Some(Status { code: code(status).into(), message }),
        http_response: Some(HttpResponse::DeniedResponse(denied)),
    }
}

/// Returns the gRPC code of an HTTP status of a denial.
fn code(status: u16) -> Code {
    match status {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        _ => Code::FailedPrecondition,
    }
}

/// Makes a header that replaces all headers of its name.
fn set(key: impl Into<String>, value: impl Into<String>) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: key.into(), value: value.into(), ..HeaderValue::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
    }
}
