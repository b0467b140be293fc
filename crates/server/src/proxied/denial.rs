//! The denials of a proxied request, and the responses for its client.

use key_authority_domain::verdict::Verdict;
use key_authority_http_credential::{BearerError, Challenge};
use key_authority_replica::index::KeyRecord;
use serde_json::{Value, json};

use super::credential::Ambiguous;
use crate::rpc::errors::ERROR_DOMAIN;
use crate::wire::violations::Violations;

/// Why a request is denied.
pub(crate) enum Denial {
    /// It has no token.
    NoToken,
    /// It has different credentials.
    Ambiguous,
    /// It has a header that a service could take for one of the authority, and that the proxy does not remove.
    ReservedHeader,
    /// The token is not accepted for this request.
    Verdict {
        /// The verdict.
        verdict: Verdict,
        /// The scopes that the route requires, and those that the key lacks; only for `SCOPE_DENIED`.
        scopes: Option<(Vec<String>, Vec<String>)>,
    },
    /// The proxy's configuration is invalid. This is not the client's fault, but the request is denied.
    Misconfigured(Violations),
}

impl From<Ambiguous> for Denial {
    fn from(_: Ambiguous) -> Self {
        Self::Ambiguous
    }
}

impl From<Violations> for Denial {
    fn from(violations: Violations) -> Self {
        Self::Misconfigured(violations)
    }
}

impl Denial {
    /// Makes the denial for a verdict about `record`. It discloses scopes only for `SCOPE_DENIED`.
    pub(super) fn of(verdict: Verdict, record: Option<&KeyRecord>, wanted: &[&str]) -> Self {
        let owned = |scopes: &mut dyn Iterator<Item = &str>| scopes.map(str::to_owned).collect();
        let record = record.filter(|_| verdict == Verdict::ScopeDenied);
        let scopes = record
            .map(|record| (owned(&mut wanted.iter().copied()), owned(&mut record.access().missing_scopes(wanted))));
        Self::Verdict { verdict, scopes }
    }

    /// Returns the response for the client.
    pub(crate) fn response(&self) -> DenialResponse {
        let DenialRow { http, error, text } = self.row();
        DenialResponse { status: http, text, challenge: self.challenge(error, text), body: self.body(error, text) }
    }

    /// Maps each denial to its status, error and text.
    fn row(&self) -> DenialRow {
        let (http, error) = match self {
            Self::NoToken => (401, None),
            Self::Ambiguous | Self::ReservedHeader => (400, Some(BearerError::InvalidRequest)),
            Self::Misconfigured(_) => (500, None),
            Self::Verdict { verdict, .. } => match verdict {
                Verdict::ProjectDenied | Verdict::ScopeDenied | Verdict::NetworkDenied => {
                    (403, Some(BearerError::InsufficientScope))
                }
                Verdict::Malformed
                | Verdict::Unknown
                | Verdict::Disabled
                | Verdict::Revoked
                | Verdict::Expired
                | Verdict::AccountSuspended
                | Verdict::Valid => (401, Some(BearerError::InvalidToken)),
            },
        };
        let text = match self {
            Self::NoToken => "a token is required",
            Self::Ambiguous => "exactly one token is required",
            Self::ReservedHeader => "a header has a name that is reserved",
            Self::Misconfigured(_) => "the proxy is misconfigured; see the log of the key authority",
            Self::Verdict { verdict, .. } => match verdict {
                Verdict::Malformed => "the token is malformed",
                // A valid verdict is never a denial.
                Verdict::Unknown | Verdict::Valid => "the token is unknown",
                Verdict::Disabled => "the key is disabled",
                Verdict::Revoked => "the key is revoked",
                Verdict::Expired => "the token has expired",
                Verdict::AccountSuspended => "the account of the key is suspended",
                Verdict::ProjectDenied => "the key does not cover this project",
                Verdict::ScopeDenied => "the key lacks the required scopes",
                Verdict::NetworkDenied => "the key may not be used from this address",
            },
        };
        DenialRow { http, error, text }
    }

    /// Returns the `WWW-Authenticate` challenge; none where the client is not at fault.
    fn challenge(&self, error: Option<BearerError>, text: &str) -> Option<String> {
        let scopes = match self {
            Self::Misconfigured(_) => return None,
            Self::Verdict { scopes: Some((wanted, _)), .. } => wanted.as_slice(),
            _ => &[],
        };
        let error = error.map(|error| (error, text));
        Some(Challenge { realm: Some(ERROR_DOMAIN), error, scopes }.to_string())
    }

    fn body(&self, error: Option<BearerError>, text: &str) -> Value {
        let mut body = json!({ "error": error.map(BearerError::as_str), "message": text });
        if let (Self::Verdict { verdict, scopes }, Some(fields)) = (self, body.as_object_mut()) {
            fields.insert("verdict".into(), verdict.as_str().into());
            if let Some((_, missing)) = scopes {
                fields.insert("missing_scopes".into(), json!(missing));
            }
        }
        body
    }
}

/// The response to a denied request.
pub(crate) struct DenialResponse {
    /// The HTTP status.
    pub(crate) status: u16,
    /// What is wrong, for people.
    pub(crate) text: &'static str,
    /// The value of `WWW-Authenticate`, where the client is at fault.
    pub(crate) challenge: Option<String>,
    /// The body.
    pub(crate) body: Value,
}

/// A row of the table of denials.
struct DenialRow {
    /// The HTTP status.
    http: u16,
    /// The error name of RFC 6750.
    error: Option<BearerError>,
    /// The text for people.
    text: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_stay_within_their_quotes() {
        let scopes = Some((vec!["a\"b\\".into(), "é".into()], vec!["é".into()]));
        let denial = Denial::Verdict { verdict: Verdict::ScopeDenied, scopes };
        let response = denial.response();
        let challenge = response.challenge.unwrap();
        assert!(challenge.ends_with(", scope=\"a%22b%5C %C3%A9\""), "{challenge}");
        assert_eq!(response.body["missing_scopes"], json!(["é"]));
    }
}
