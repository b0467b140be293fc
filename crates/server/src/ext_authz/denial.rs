//! Why a request may not pass, and what its client is told.

use key_authority_domain::verdict::Verdict;
use key_authority_proto::ext_authz::check_response::HttpResponse;
use key_authority_proto::ext_authz::{CheckResponse, DeniedHttpResponse, HttpStatus, Status};
use key_authority_replica::index::KeyRecord;
use percent_encoding::{AsciiSet, utf8_percent_encode};
use serde_json::json;
use tonic::Code;

use super::credential::Ambiguous;
use super::response::{IN_HEADER, set};
use crate::rpc::errors::ERROR_DOMAIN;
use crate::wire::violations::Violations;

/// What is written in another way within quotes in a header.
const IN_QUOTES: &AsciiSet = &IN_HEADER.add(b'"').add(b'\\');

/// Why a request may not pass.
pub(super) enum AuthzDenial {
    /// It carries no token.
    NoToken,
    /// It carries more than one.
    Ambiguous,
    /// The token does not do.
    Verdict {
        /// What was decided.
        verdict: Verdict,
        /// The scopes that the route demands, and those of them that the key has not; only where that is what was decided.
        scopes: Option<(Vec<String>, Vec<String>)>,
    },
    /// The proxy's configuration is wrong: it is no fault of the client, and no reason to let it in.
    Misconfigured(Violations),
}

impl From<Ambiguous> for AuthzDenial {
    fn from(_: Ambiguous) -> Self {
        Self::Ambiguous
    }
}

impl From<Violations> for AuthzDenial {
    fn from(violations: Violations) -> Self {
        Self::Misconfigured(violations)
    }
}

impl AuthzDenial {
    /// A verdict about the key of `secret`, which is told of only what may be.
    pub(super) fn of(verdict: Verdict, secret: Option<&KeyRecord>, wanted: &[&str]) -> Self {
        let owned = |scopes: &mut dyn Iterator<Item = &str>| scopes.map(str::to_owned).collect();
        let secret = secret.filter(|_| verdict == Verdict::ScopeDenied);
        let scopes = secret
            .map(|secret| (owned(&mut wanted.iter().copied()), owned(&mut secret.access().missing_scopes(wanted))));
        Self::Verdict { verdict, scopes }
    }

    /// What the proxy is told.
    pub(super) fn response(self) -> CheckResponse {
        let Words { http, code, error, text } = self.words();
        let mut headers = vec![set("content-type", "application/json")];
        headers.extend(self.challenge(error, text).map(|challenge| set("www-authenticate", challenge)));
        let message = if let Self::Misconfigured(violations) = &self { violations.to_string() } else { text.into() };
        let denied =
            DeniedHttpResponse { status: Some(HttpStatus { code: http }), headers, body: self.body(error, text) };
        CheckResponse {
            status: Some(Status { code: code.into(), message }),
            http_response: Some(HttpResponse::DeniedResponse(denied)),
        }
    }

    /// The table.
    fn words(&self) -> Words {
        let (http, code, error) = match self {
            Self::NoToken => (401, Code::Unauthenticated, None),
            Self::Ambiguous => (400, Code::InvalidArgument, Some("invalid_request")),
            Self::Misconfigured(_) => (500, Code::FailedPrecondition, None),
            Self::Verdict { verdict, .. } => match verdict {
                Verdict::ProjectDenied | Verdict::ScopeDenied | Verdict::NetworkDenied => {
                    (403, Code::PermissionDenied, Some("insufficient_scope"))
                }
                Verdict::Malformed
                | Verdict::Unknown
                | Verdict::Disabled
                | Verdict::Revoked
                | Verdict::Expired
                | Verdict::AccountSuspended
                | Verdict::Valid => (401, Code::Unauthenticated, Some("invalid_token")),
            },
        };
        let text = match self {
            Self::NoToken => "a token is needed",
            Self::Ambiguous => "one token is needed, not several",
            Self::Misconfigured(_) => "the proxy is misconfigured; the log of the key authority says how",
            Self::Verdict { verdict, .. } => match verdict {
                Verdict::Malformed => "this is no token",
                // What is valid is not denied.
                Verdict::Unknown | Verdict::Valid => "the token is not known",
                Verdict::Disabled => "the key is disabled",
                Verdict::Revoked => "the key is revoked",
                Verdict::Expired => "the token has expired",
                Verdict::AccountSuspended => "the account of the key is suspended",
                Verdict::ProjectDenied => "the key does not cover this project",
                Verdict::ScopeDenied => "the key has not the scopes that are needed",
                Verdict::NetworkDenied => "the key may not be used from this address",
            },
        };
        Words { http, code, error, text }
    }

    /// How to do better, as RFC 6750 has it: without an error for a request that carries no token.
    fn challenge(&self, error: Option<&str>, text: &str) -> Option<String> {
        if let Self::Misconfigured(_) = self {
            return None;
        }
        let mut parts = vec![("realm", ERROR_DOMAIN.to_owned())];
        if let Some(error) = error {
            parts.extend([("error", error.to_owned()), ("error_description", text.to_owned())]);
        }
        if let Self::Verdict { scopes: Some((wanted, _)), .. } = self {
            parts.push(("scope", utf8_percent_encode(&wanted.join(" "), IN_QUOTES).to_string()));
        }
        let parts: Vec<_> = parts.into_iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        Some(format!("Bearer {}", parts.join(", ")))
    }

    fn body(&self, error: Option<&str>, text: &str) -> String {
        let mut body = json!({ "error": error, "message": text });
        if let (Self::Verdict { verdict, scopes }, Some(fields)) = (self, body.as_object_mut()) {
            fields.insert("verdict".into(), verdict.as_str().into());
            if let Some((_, missing)) = scopes {
                fields.insert("missing_scopes".into(), json!(missing));
            }
        }
        body.to_string()
    }
}

/// A row of the table.
struct Words {
    /// The status of HTTP.
    http: i32,
    /// The code of gRPC.
    code: Code,
    /// The error, as RFC 6750 names it.
    error: Option<&'static str>,
    /// For people.
    text: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_stay_within_their_quotes() {
        let scopes = Some((vec!["a\"b\\".into(), "é".into()], vec!["é".into()]));
        let denial = AuthzDenial::Verdict { verdict: Verdict::ScopeDenied, scopes };
        let Some(HttpResponse::DeniedResponse(denied)) = denial.response().http_response else { panic!("denied") };
        let challenge = &denied.headers[1].header.as_ref().unwrap().value;
        assert!(challenge.ends_with(", scope=\"a%22b%5C %C3%A9\""), "{challenge}");
        assert!(denied.body.contains("\"missing_scopes\":[\"é\"]"), "{}", denied.body);
    }
}
