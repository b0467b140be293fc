//! The name under which a client lists an MCP server.

use std::fmt;

use key_authority_domain::text::ValidationError;

/// A name that Claude Code rejects.
const RESERVED: &str = "workspace";

/// The name under which a client lists the server: ASCII letters, digits, `_` and `-`. Every client accepts it, and no
/// client parses it as an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName(String);

impl ServerName {
    /// Validates `value` as a server name.
    ///
    /// # Errors
    /// The rule that `value` breaks.
    pub fn new(value: &str) -> Result<Self, ValidationError> {
        let is_valid = (1..=64).contains(&value.len())
            && value.starts_with(|c: char| c.is_ascii_alphanumeric())
            && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        if !is_valid {
            return Err(ValidationError::new(
                "must be 1 to 64 characters: an ASCII letter or digit, then letters, digits, '_' or '-'",
            ));
        }
        if value == RESERVED {
            return Err(ValidationError::new("must not be 'workspace', which Claude Code reserves"));
        }
        Ok(Self(value.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
