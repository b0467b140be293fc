//! What is asked.

use std::net::IpAddr;

use key_authority_proto::v1;
use prost::Message as _;

use crate::error::Error;

/// The longest token that may be one, in bytes.
const TOKEN_BYTES_MAX: usize = 512;
/// The largest question, in bytes. One with every field at its limit is smaller. The authority ends a stream, with all that is
/// open on it, at a message of more than 64 KiB.
const QUESTION_BYTES_MAX: usize = 60 * 1024;

/// One question: may the holder of this token do this? Each call after [`Question::new`] narrows it.
///
/// What it may be narrowed by is never empty: on the wire an empty project means any project, so an empty text that came from a
/// path or a header would widen the question. [`crate::Verifier::verify`] answers it with [`Error::Invalid`].
///
/// `Debug` does not show the token.
#[derive(Debug, Clone)]
pub struct Question {
    request: v1::VerifyRequest,
    empty: Option<&'static str>,
}

impl Question {
    /// Asks whether a key with this token is valid at all. `token` is what its holder presented, without `Bearer`.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self { request: v1::VerifyRequest { token: token.into(), ..v1::VerifyRequest::default() }, empty: None }
    }

    /// The project that the holder wants to act in, at most 256 characters.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.request.project = self.not_empty("project", project.into());
        self
    }

    /// The scopes that the holder needs, beside those named before; at most 100 of 1 to 128 characters each.
    #[must_use]
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.request.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// The account that the key must belong to, at most 64 characters.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.request.account = self.not_empty("account", account.into());
        self
    }

    /// The ID that the key must have, at most 64 characters: for holders that present a pair of ID and secret.
    #[must_use]
    pub fn key_id(mut self, key_id: impl Into<String>) -> Self {
        self.request.key_id = self.not_empty("key_id", key_id.into());
        self
    }

    /// The address that the holder calls from. A key that may be used from certain networks only is denied without one.
    #[must_use]
    pub fn client_ip(mut self, address: IpAddr) -> Self {
        self.request.client_ip = address.to_string();
        self
    }

    fn not_empty(&mut self, field: &'static str, value: String) -> String {
        if value.is_empty() {
            self.empty = Some(field);
        }
        value
    }

    /// Whether the contract says what comes of the token, so that nobody need be asked: it is empty, or too long.
    pub(crate) fn is_malformed(&self) -> bool {
        !(1..=TOKEN_BYTES_MAX).contains(&self.request.token.len())
    }

    /// The question as it is sent.
    pub(crate) fn request(&self) -> Result<&v1::VerifyRequest, Error> {
        if let Some(field) = self.empty {
            return Err(Error::Invalid { message: format!("{field} is empty, which would ask for any") });
        }
        if self.request.encoded_len() > QUESTION_BYTES_MAX {
            return Err(Error::Invalid { message: "its fields are longer than they may be".to_owned() });
        }
        Ok(&self.request)
    }

    /// The scopes that are asked for.
    pub(crate) fn demanded_scopes(&self) -> &[String] {
        &self.request.scopes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_narrowing_is_refused_and_never_sent() {
        for (field, question) in [
            ("project", Question::new("t").project("")),
            ("account", Question::new("t").account("")),
            ("key_id", Question::new("t").key_id("")),
        ] {
            let Err(Error::Invalid { message }) = question.request() else { panic!("{field} was let through") };
            assert!(message.starts_with(field), "{message}");
        }
        assert!(Question::new("t").project("p").account("a").key_id("k").request().is_ok());
    }

    #[test]
    fn what_is_longer_than_any_valid_question_is_refused_and_never_sent() {
        let long = |length| "\u{10ffff}".repeat(length);
        let largest = Question::new("t".repeat(512))
            .project(long(256))
            .scopes(std::iter::repeat_n(long(128), 100))
            .account(long(64))
            .key_id(long(64))
            .client_ip("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap());
        assert!(largest.request().is_ok(), "every field at its limit");
        let larger = Question::new("t").project("p".repeat(QUESTION_BYTES_MAX));
        assert!(matches!(larger.request(), Err(Error::Invalid { .. })));
    }

    #[test]
    fn debug_shows_no_token() {
        let shown = format!("{:?}", Question::new("canary").account("acme"));
        assert!(!shown.contains("canary") && shown.contains("acme"), "{shown}");
    }
}
