//! The caller of a path that is not a call of the API.

use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use key_authority_domain::permission::Permission;
use key_authority_http_credential::{BearerError, Challenge};
use serde_json::json;
use tonic::Code;

use super::reply::{reply, status_of};
use super::session::{Session, Shared};
use crate::auth::call::{Call, CallContext};
use crate::auth::credential::CallerToken;
use crate::rpc::deadline::Deadline;
use crate::rpc::errors::{ERROR_DOMAIN, RpcError};

/// The caller of a request that is authorized.
pub(super) struct AuthorizedCaller {
    pub(super) call: Call,
    context: CallContext,
}

impl AuthorizedCaller {
    /// Records a refused request, and returns its error.
    pub(super) fn refused(&self, shared: &Shared, error: RpcError) -> RpcError {
        shared.calls.note_refusal(&self.context, &error);
        error
    }
}

/// Authorizes the caller of a request to `path` for which any of the `permissions` is enough.
///
/// # Errors
/// As a call by gRPC.
pub(super) fn authorize(
    shared: &Shared,
    session: &Session,
    headers: &HeaderMap,
    (path, place): (&'static str, CallerToken),
    permissions: &'static [Permission],
) -> Result<AuthorizedCaller, RpcError> {
    let authentication = session.authenticator.authenticate_by(headers, place);
    let context = CallContext::new(authentication.clone(), path, &session.connection);
    let call = shared
        .calls
        .authorize(&context, permissions)
        .inspect_err(|error| shared.calls.note_refusal(&context, error))?;
    if call.permit.actor().is_ok() {
        shared.calls.promote(&session.connection.place, &authentication);
    }
    let call = Call { deadline: Some(Deadline::after(shared.request_timeout)), ..call };
    Ok(AuthorizedCaller { call, context })
}

/// Returns the response to a caller of an OAuth endpoint whose call failed (RFC 6749, 5.2; RFC 6750, 3.1).
pub(super) fn oauth_failed(error: RpcError) -> Response {
    let challenge = match error.code().0 {
        Code::Unauthenticated => Some(BearerError::InvalidToken),
        Code::PermissionDenied => Some(BearerError::InsufficientScope),
        _ => None,
    };
    let name = match challenge {
        Some(BearerError::InvalidToken) => "invalid_client",
        Some(error) => error.as_str(),
        None if status_of(error.code().0).as_u16() >= 500 => "temporarily_unavailable",
        None => "invalid_request",
    };
    // The conversion logs the cause of an outage.
    let status = tonic::Status::from(error);
    let body = json!({ "error": name, "error_description": status.message() });
    let mut response = reply(status_of(status.code()), &body);
    if let Some(error) = challenge {
        let bearer = Challenge { realm: Some(ERROR_DOMAIN), error: Some((error, status.message())), scopes: &[] };
        let basic = format!("Basic realm=\"{ERROR_DOMAIN}\", charset=\"UTF-8\"");
        for challenge in [bearer.to_string(), basic] {
            if let Ok(value) = HeaderValue::try_from(challenge) {
                response.headers_mut().append(header::WWW_AUTHENTICATE, value);
            }
        }
    }
    response
}

/// Returns the response to an OAuth request that is malformed.
pub(super) fn oauth_invalid(status: StatusCode, description: &str) -> Response {
    reply(status, &json!({ "error": "invalid_request", "error_description": description }))
}
