//! The token of this service, with which it calls the authority.

use std::path::PathBuf;

use key_authority_text_io::{MARK, read};
use tonic::metadata::{Ascii, MetadataValue};
use zeroize::Zeroizing;

use crate::error::SetupError;
use crate::token::Token;

/// Where the token of this service comes from. `Debug` does not show a token.
#[derive(Debug, Clone)]
pub(crate) enum TokenSource {
    /// Calls carry no token: the authority accepts anonymous calls.
    None,
    Token(Token),
    /// The file is read again for each connection, so that a renewed token is used without a restart.
    File(PathBuf),
}

impl TokenSource {
    /// The value of the metadata entry `authorization`.
    pub(crate) async fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>, SetupError> {
        match self {
            Self::None => Ok(None),
            Self::Token(token) => bearer(token.expose()).map(Some),
            Self::File(path) => {
                let file = path.clone();
                let text = tokio::task::spawn_blocking(move || read(&file).map(Zeroizing::new)).await;
                let text = text.unwrap_or_else(|error| Err(error.into()));
                bearer(&text.map_err(|source| SetupError::TokenFile { path: path.clone(), source })?).map(Some)
            }
        }
    }
}

fn bearer(token: &str) -> Result<MetadataValue<Ascii>, SetupError> {
    // A caller may have read a file that begins with a byte order mark.
    let token = token.trim_start_matches(MARK).trim();
    if token.is_empty() {
        return Err(SetupError::InvalidToken);
    }
    let header = Zeroizing::new(format!("Bearer {token}"));
    let mut value: MetadataValue<Ascii> = header.parse().map_err(|_| SetupError::InvalidToken)?;
    // Without it, `Debug` of a request shows the token.
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> TokenSource {
        TokenSource::Token(Token::new(text.to_owned()))
    }

    #[tokio::test]
    async fn debug_does_not_show_the_token() {
        let source = source("canary");
        let shown = format!("{source:?} {:?}", source.authorization().await.unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[tokio::test]
    async fn a_byte_order_mark_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "\u{feff}a-token\r\n").unwrap();
        let authorization = TokenSource::File(path.clone()).authorization().await.unwrap();
        assert_eq!(authorization.unwrap(), "Bearer a-token");
        std::fs::write(&path, b"\xff\xfea\0").unwrap();
        let error = TokenSource::File(path).authorization().await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("is UTF-16; save it as UTF-8"), "{cause}");
    }

    #[tokio::test]
    async fn a_text_that_cannot_be_a_token_is_rejected() {
        for text in ["", " \n", "a\nb"] {
            let authorization = source(text).authorization().await;
            assert!(matches!(authorization, Err(SetupError::InvalidToken)), "{text:?}");
        }
    }
}
