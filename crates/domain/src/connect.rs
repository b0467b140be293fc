//! How an AI agent is connected to an MCP server with a key: for each client the exact command, link or URL.
//!
//! Whoever pastes a command trusts it, so nothing that a name, an address or a token holds may act as more than itself:
//! [`shell`] quotes for each shell, [`json`] writes JSON that no shell finds anything in, [`client`] knows the clients. To
//! add a client, add it to [`Client`] and to the match in [`client`].

use std::fmt;

use crate::text::ValidationError;

pub mod client;
pub mod endpoint;
pub mod json;
pub mod shell;

pub use client::{Client, Instruction};
pub use endpoint::Endpoint;

/// What stands where the token belongs when it is not filled in. It has no meaning in any shell, in JSON or in a URL.
pub const PLACEHOLDER: &str = "YOUR_API_KEY";

/// The name that Claude Code refuses.
const RESERVED: &str = "workspace";

/// What the client calls the server: letters, digits, `_` and `-`, which every client takes, and never an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName(String);

impl ServerName {
    /// Takes `value` for a name.
    ///
    /// # Errors
    /// The rule in words, when the value breaks it.
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
            return Err(ValidationError::new("must not be 'workspace', a name that Claude Code keeps for itself"));
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

#[cfg(test)]
mod tests;
