//! The challenge in the response to a request whose credential is missing or rejected (RFC 6750, section 3).

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The characters that are percent-encoded in a quoted string of a header.
const IN_QUOTES: &AsciiSet = &CONTROLS.add(b'%').add(b'"').add(b'\\');
/// What cannot stand in one scope of a list, which spaces separate.
const IN_SCOPE: &AsciiSet = &IN_QUOTES.add(b' ');

/// Why a credential is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BearerError {
    /// The request is malformed, or carries different credentials.
    InvalidRequest,
    /// The token is malformed, unknown, expired or revoked.
    InvalidToken,
    /// The token is valid, but its permissions do not suffice.
    InsufficientScope,
}

impl BearerError {
    /// Returns the value of the attribute `error`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }

    /// Returns the status code of the response.
    #[must_use]
    pub const fn status_code(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::InvalidToken => 401,
            Self::InsufficientScope => 403,
        }
    }
}

/// The value of `WWW-Authenticate`, as `Display` writes it. A request that carries no credential gets one without an
/// error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// The protection space.
    pub realm: Option<&'a str>,
    /// What is wrong, and a description for people.
    pub error: Option<(BearerError, &'a str)>,
    /// The scopes that the request requires. In the header, a scope is percent-encoded where it cannot be quoted.
    pub scopes: &'a [String],
}

impl fmt::Display for Challenge<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |value| utf8_percent_encode(value, IN_QUOTES).to_string();
        let scopes: Vec<String> =
            self.scopes.iter().map(|scope| utf8_percent_encode(scope, IN_SCOPE).to_string()).collect();
        let attributes = [
            ("realm", self.realm.map(quoted)),
            ("error", self.error.map(|(error, _)| error.as_str().to_owned())),
            ("error_description", self.error.map(|(_, description)| quoted(description))),
            ("scope", (!scopes.is_empty()).then(|| scopes.join(" "))),
        ];
        formatter.write_str("Bearer")?;
        let mut separator = " ";
        for (name, value) in attributes {
            if let Some(value) = value {
                write!(formatter, "{separator}{name}=\"{value}\"")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_credential_there_is_no_error() {
        assert_eq!(Challenge::default().to_string(), "Bearer");
        assert_eq!(Challenge { realm: Some("r"), ..Challenge::default() }.to_string(), "Bearer realm=\"r\"");
    }

    #[test]
    fn attributes_stay_within_their_quotes() {
        let scopes = ["a\"b\\".to_owned(), "c d".to_owned(), "é".to_owned()];
        let challenge =
            Challenge { realm: None, error: Some((BearerError::InsufficientScope, "why")), scopes: &scopes };
        assert_eq!(
            challenge.to_string(),
            "Bearer error=\"insufficient_scope\", error_description=\"why\", scope=\"a%22b%5C c%20d %C3%A9\""
        );
    }
}
