//! Who asks: this service's own token.

use std::fmt;
use std::path::PathBuf;

use tonic::metadata::{Ascii, MetadataValue};

use crate::error::SetupError;

/// Where the token of this service is. `Debug` does not show it.
#[derive(Clone)]
pub(crate) enum Credential {
    /// An authority that answers without one.
    None,
    Token(String),
    /// Read anew for each connection.
    File(PathBuf),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Token(_) => f.write_str("Token(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl Credential {
    /// The value of `authorization`.
    pub(crate) async fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>, SetupError> {
        match self {
            Self::None => Ok(None),
            Self::Token(token) => bearer(token).map(Some),
            Self::File(path) => {
                let text = tokio::fs::read_to_string(path).await;
                bearer(&text.map_err(|source| SetupError::TokenFile { path: path.clone(), source })?).map(Some)
            }
        }
    }
}

fn bearer(token: &str) -> Result<MetadataValue<Ascii>, SetupError> {
    let token = token.trim();
    if token.is_empty() {
        return Err(SetupError::Token);
    }
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| SetupError::Token)?;
    // `Debug` of requests shows metadata.
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_debug_shows_a_token() {
        let credential = Credential::Token("canary".to_owned());
        let shown = format!("{credential:?} {:?}", credential.authorization().await.unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[tokio::test]
    async fn what_is_no_token_is_refused() {
        for text in ["", " \n", "a\nb"] {
            let token = Credential::Token(text.to_owned()).authorization().await;
            assert!(matches!(token, Err(SetupError::Token)), "{text:?}");
        }
    }
}
