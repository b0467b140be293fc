//! A token in the clear.

use std::fmt;

use zeroize::Zeroizing;

/// A token. `Debug` does not show it, and its memory is wiped when it is dropped.
///
/// The copies that the transport makes of it are not wiped: header values and encoded messages belong to other crates.
#[derive(Clone)]
pub(crate) struct Token(Zeroizing<String>);

impl Token {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The token as text. Callers must not log it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Moves the token out, for a message that is about to be sent.
    pub(crate) fn into_exposed(mut self) -> String {
        std::mem::take(&mut *self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
