//! The response to a request that is not let through.

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Response, StatusCode};
use key_authority_http_credential::{BearerError, Challenge};
use tonic::{Code, Status};

use crate::error::Error;
use crate::verdict::{Denial, Reason};

/// The value of `Retry-After` during an outage. The verifier uses a replica that comes back within this time.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// Why a request is not let through.
#[derive(Debug)]
pub(super) enum Rejection {
    MissingToken,
    Denied {
        denial: Denial,
        /// The scopes that the key must have.
        required_scopes: Vec<String>,
    },
    /// The request is malformed, for this reason.
    InvalidRequest(String),
    /// There is no verdict. The response must not look like a denial.
    Undecided,
}

impl Rejection {
    /// Converts the error of a question. The cause goes to the log and not into the response, because the client must
    /// not learn how this service reaches the authority.
    pub(super) fn from_error(error: &Error) -> Self {
        if let Error::InvalidQuestion { message } = error {
            return Self::InvalidRequest(message.clone());
        }
        #[cfg(feature = "tracing")]
        tracing::warn!(
            error = key_authority_text_io::error_chain::whole(error),
            is_retryable = error.is_retryable(),
            "cannot verify an API key; responding 503 (gRPC: UNAVAILABLE)"
        );
        Self::Undecided
    }

    /// The response, as gRPC or as HTTP, depending on the headers of the request.
    pub(super) fn response<B: Default>(&self, request: &HeaderMap) -> Response<B> {
        let content_type = request.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        if content_type.is_some_and(|value| value.starts_with(b"application/grpc")) {
            return Status::new(self.grpc_code(), self.message()).into_http();
        }
        let mut response = Response::new(B::default());
        *response.status_mut() = self.status_code();
        if let Some(challenge) = self.challenge() {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        if matches!(self, Self::Undecided) {
            response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
        }
        response
    }

    /// What is wrong with the credential. `None`: there is no credential, or no verdict about it.
    fn bearer_error(&self) -> Option<BearerError> {
        match self {
            Self::Denied { denial, .. } if denial.reason.is_about_token() => Some(BearerError::InvalidToken),
            Self::Denied { .. } => Some(BearerError::InsufficientScope),
            Self::InvalidRequest(_) => Some(BearerError::InvalidRequest),
            Self::MissingToken | Self::Undecided => None,
        }
    }

    fn status_code(&self) -> StatusCode {
        match self.bearer_error() {
            Some(error) => StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::UNAUTHORIZED),
            None if matches!(self, Self::Undecided) => StatusCode::SERVICE_UNAVAILABLE,
            None => StatusCode::UNAUTHORIZED,
        }
    }

    fn grpc_code(&self) -> Code {
        match self.bearer_error() {
            Some(BearerError::InvalidRequest) => Code::InvalidArgument,
            Some(BearerError::InsufficientScope) => Code::PermissionDenied,
            None if matches!(self, Self::Undecided) => Code::Unavailable,
            Some(BearerError::InvalidToken) | None => Code::Unauthenticated,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::MissingToken => "the request has no API key".to_owned(),
            Self::Denied { denial: Denial { reason: Reason::ScopeDenied, missing_scopes, .. }, .. } => {
                format!("the key lacks the scope {}", missing_scopes.join(" "))
            }
            Self::Denied { denial, .. } => denial.reason.to_string(),
            Self::InvalidRequest(message) => message.clone(),
            Self::Undecided => "cannot verify the API key at the moment; retry later".to_owned(),
        }
    }

    /// The value of `WWW-Authenticate`.
    fn challenge(&self) -> Option<HeaderValue> {
        let (description, scopes) = match self {
            Self::MissingToken => (String::new(), &[][..]),
            Self::Denied { denial, required_scopes } => {
                let is_about_scopes = denial.reason == Reason::ScopeDenied;
                (denial.reason.to_string(), if is_about_scopes { &required_scopes[..] } else { &[] })
            }
            Self::InvalidRequest(message) => (message.clone(), &[][..]),
            Self::Undecided => return None,
        };
        let error = self.bearer_error().map(|error| (error, description.as_str()));
        HeaderValue::try_from(Challenge { realm: None, error, scopes }.to_string()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(reason: Reason, scopes: &[&str]) -> Rejection {
        let missing_scopes = scopes.iter().map(|&scope| scope.into()).collect::<Vec<_>>();
        let denial = Denial { missing_scopes: missing_scopes.clone(), ..Denial::new(reason) };
        Rejection::Denied { denial, required_scopes: missing_scopes }
    }

    /// The status code, the challenge, and whether the client is asked to retry.
    fn http(rejection: &Rejection) -> (u16, Option<String>, bool) {
        let response: Response<()> = rejection.response(&HeaderMap::new());
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), header(WWW_AUTHENTICATE), response.headers().contains_key(RETRY_AFTER))
    }

    fn grpc(rejection: &Rejection, content_type: &'static str) -> Code {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let response: Response<()> = rejection.response(&headers);
        assert_eq!(response.status(), StatusCode::OK);
        Status::from_header_map(response.headers()).unwrap().code()
    }

    #[test]
    fn an_http_response_follows_rfc_6750() {
        let challenged = |code, challenge: &str| (code, Some(challenge.to_owned()), false);
        assert_eq!(http(&Rejection::MissingToken), challenged(401, "Bearer"));
        let revoked = r#"Bearer error="invalid_token", error_description="the key is revoked""#;
        assert_eq!(http(&denied(Reason::Revoked, &[])), challenged(401, revoked));
        let lacks = r#"Bearer error="insufficient_scope", error_description="the key lacks the required scopes""#;
        assert_eq!(
            http(&denied(Reason::ScopeDenied, &["read", "write"])),
            challenged(403, &format!(r#"{lacks}, scope="read write""#))
        );
        let invalid = r#"Bearer error="invalid_request", error_description="project must not be empty""#;
        let rejection = Rejection::InvalidRequest("project must not be empty".to_owned());
        assert_eq!(http(&rejection), challenged(400, invalid));
    }

    #[test]
    fn a_scope_that_cannot_be_quoted_is_percent_encoded() {
        let (_, challenge, _) = http(&denied(Reason::ScopeDenied, &["a\"b", "c d"]));
        assert!(challenge.unwrap().ends_with(r#", scope="a%22b c%20d""#));
    }

    #[test]
    fn a_missing_verdict_is_no_denial() {
        let unavailable = Error::Unavailable { deadline: std::time::Duration::ZERO, last_error: None };
        let rejected = Error::CallerRejected { message: String::new() };
        for error in [unavailable, rejected, Error::InvalidResponse { message: "" }] {
            let rejection = Rejection::from_error(&error);
            assert_eq!(http(&rejection), (503, None, true), "{error}");
            assert_eq!(grpc(&rejection, "application/grpc"), Code::Unavailable, "{error}");
        }
    }

    #[test]
    fn a_grpc_response_has_a_status() {
        for content_type in ["application/grpc", "application/grpc+proto", "application/grpc-web"] {
            assert_eq!(grpc(&Rejection::MissingToken, content_type), Code::Unauthenticated);
            assert_eq!(grpc(&denied(Reason::Expired, &[]), content_type), Code::Unauthenticated);
            assert_eq!(grpc(&denied(Reason::ProjectDenied, &[]), content_type), Code::PermissionDenied);
            assert_eq!(grpc(&Rejection::InvalidRequest(String::new()), content_type), Code::InvalidArgument);
        }
    }
}
