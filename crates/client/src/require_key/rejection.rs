//! What is answered in place of the service.

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Response, StatusCode};
use tonic::{Code, Status};

use crate::error::{Error, chain};
use crate::verdict::{Denial, Reason};

/// When to ask again where the authority cannot be asked: a replica that comes back is used within this time.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// Why a request is not let through.
#[derive(Debug)]
pub(super) enum Refusal {
    NoToken,
    Denied {
        denial: Denial,
        /// Those that were asked for.
        scopes: Vec<String>,
    },
    Invalid(String),
    /// It is no denial, and must never look like one.
    Undecided,
}

impl Refusal {
    /// A question without a verdict. The cause goes to the log, since it is not the business of whoever made the request.
    pub(super) fn undecided(error: &Error) -> Self {
        match error {
            Error::Invalid { message } => Self::Invalid(message.clone()),
            error => {
                tracing::warn!(error = chain(error), "a request could not be decided");
                Self::Undecided
            }
        }
    }

    /// The answer, in the manner of the request.
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

    fn status_code(&self) -> StatusCode {
        match self {
            Self::NoToken => StatusCode::UNAUTHORIZED,
            Self::Denied { denial, .. } if denial.reason.is_about_token() => StatusCode::UNAUTHORIZED,
            Self::Denied { .. } => StatusCode::FORBIDDEN,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Undecided => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn grpc_code(&self) -> Code {
        match self {
            Self::NoToken => Code::Unauthenticated,
            Self::Denied { denial, .. } if denial.reason.is_about_token() => Code::Unauthenticated,
            Self::Denied { .. } => Code::PermissionDenied,
            Self::Invalid(_) => Code::InvalidArgument,
            Self::Undecided => Code::Unavailable,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::NoToken => "no key is presented".to_owned(),
            Self::Denied { denial: Denial { reason: Reason::ScopeDenied, missing_scopes, .. }, .. } => {
                format!("the key lacks the scope {}", missing_scopes.join(" "))
            }
            Self::Denied { denial, .. } => denial.reason.to_string(),
            Self::Invalid(message) => message.clone(),
            Self::Undecided => "it cannot be found out at the moment whether the key may do this".to_owned(),
        }
    }

    /// RFC 6750, section 3: no error code where no token came.
    fn challenge(&self) -> Option<HeaderValue> {
        let text = match self {
            Self::NoToken => "Bearer".to_owned(),
            Self::Denied { denial: Denial { reason, .. }, scopes } => {
                let error = if reason.is_about_token() { "invalid_token" } else { "insufficient_scope" };
                let scope = match reason {
                    Reason::ScopeDenied if scopes.iter().all(|scope| is_quotable(scope)) => {
                        format!(", scope=\"{}\"", scopes.join(" "))
                    }
                    _ => String::new(),
                };
                format!("Bearer error=\"{error}\", error_description=\"{reason}\"{scope}")
            }
            Self::Invalid(_) => "Bearer error=\"invalid_request\"".to_owned(),
            Self::Undecided => return None,
        };
        HeaderValue::try_from(text).ok()
    }
}

/// Whether it is a `scope-token` of RFC 6749: others cannot stand in the header.
fn is_quotable(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(reason: Reason, scopes: &[&str]) -> Refusal {
        let missing_scopes = scopes.iter().map(|&scope| scope.into()).collect::<Vec<_>>();
        let denial = Denial { reason, key_id: None, account: None, missing_scopes: missing_scopes.clone() };
        Refusal::Denied { denial, scopes: missing_scopes }
    }

    fn http(refusal: &Refusal) -> (u16, Option<String>, bool) {
        let response: Response<()> = refusal.response(&HeaderMap::new());
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), header(WWW_AUTHENTICATE), response.headers().contains_key(RETRY_AFTER))
    }

    fn grpc(refusal: &Refusal, content_type: &'static str) -> Code {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let response: Response<()> = refusal.response(&headers);
        assert_eq!(response.status(), StatusCode::OK);
        Status::from_header_map(response.headers()).unwrap().code()
    }

    #[test]
    fn http_is_told_as_rfc_6750_has_it() {
        let challenged = |code, challenge: &str| (code, Some(challenge.to_owned()), false);
        assert_eq!(http(&Refusal::NoToken), challenged(401, "Bearer"));
        let revoked = r#"Bearer error="invalid_token", error_description="the key is revoked""#;
        assert_eq!(http(&denied(Reason::Revoked, &[])), challenged(401, revoked));
        let lacks = r#"Bearer error="insufficient_scope", error_description="the key lacks a scope""#;
        assert_eq!(
            http(&denied(Reason::ScopeDenied, &["read", "write"])),
            challenged(403, &format!(r#"{lacks}, scope="read write""#))
        );
        assert_eq!(
            http(&denied(Reason::ScopeDenied, &["a\"b"])),
            challenged(403, lacks),
            "a scope that cannot be quoted"
        );
        assert_eq!(http(&Refusal::Invalid(String::new())), challenged(400, r#"Bearer error="invalid_request""#));
    }

    #[test]
    fn what_could_not_be_found_out_is_no_denial() {
        let error = Error::Unavailable { waited: std::time::Duration::ZERO, trouble: String::new() };
        for error in [error, Error::Caller { message: String::new() }, Error::Garbled("")] {
            let refusal = Refusal::undecided(&error);
            assert_eq!(http(&refusal), (503, None, true), "{error}");
            assert_eq!(grpc(&refusal, "application/grpc"), Code::Unavailable, "{error}");
        }
    }

    #[test]
    fn grpc_is_told_by_its_status() {
        for content_type in ["application/grpc", "application/grpc+proto", "application/grpc-web"] {
            assert_eq!(grpc(&Refusal::NoToken, content_type), Code::Unauthenticated);
            assert_eq!(grpc(&denied(Reason::Expired, &[]), content_type), Code::Unauthenticated);
            assert_eq!(grpc(&denied(Reason::ProjectDenied, &[]), content_type), Code::PermissionDenied);
            assert_eq!(grpc(&Refusal::Invalid(String::new()), content_type), Code::InvalidArgument);
        }
    }
}
