//! Challenges: the responses to a request whose credential is missing or not accepted (RFC 6750, section 3).

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The characters that are percent-encoded in a quoted string of a header.
const IN_QUOTES: &AsciiSet = &CONTROLS.add(b'%').add(b'"').add(b'\\');

/// Why a credential is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BearerError {
    /// The request is malformed, or carries different credentials.
    InvalidRequest,
    /// The token is not accepted: malformed, unknown, expired, revoked.
    InvalidToken,
    /// The token is valid, but lacks a scope of the request.
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

/// The value of `WWW-Authenticate`, as `Display` writes it. The challenge for a request without a credential has no
/// error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// The protection space.
    pub realm: Option<&'a str>,
    /// The error and its description.
    pub error: Option<(BearerError, &'a str)>,
    /// The scopes that the request requires.
    pub scopes: &'a [String],
}

impl fmt::Display for Challenge<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes = self.scopes.join(" ");
        let attributes = [
            ("realm", self.realm),
            ("error", self.error.map(|(error, _)| error.as_str())),
            ("error_description", self.error.map(|(_, description)| description)),
            ("scope", Some(scopes.as_str()).filter(|scopes| !scopes.is_empty())),
        ];
        formatter.write_str("Bearer")?;
        let mut separator = " ";
        for (name, value) in attributes {
            if let Some(value) = value {
                write!(formatter, "{separator}{name}=\"{}\"", utf8_percent_encode(value, IN_QUOTES))?;
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
        let scopes = ["a\"b\\".to_owned(), "é".to_owned()];
        let challenge =
            Challenge { realm: None, error: Some((BearerError::InsufficientScope, "why")), scopes: &scopes };
        assert_eq!(
            challenge.to_string(),
            "Bearer error=\"insufficient_scope\", error_description=\"why\", scope=\"a%22b%5C %C3%A9\""
        );
    }
}
