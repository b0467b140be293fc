//! The questions that a verifier asks.

use std::fmt;
use std::net::IpAddr;

use key_authority_proto::v1;
use prost::Message as _;

use crate::error::Error;
use crate::token::Token;

/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 512;
/// The largest question, in bytes. A question with every field at its limit is smaller. The authority ends a stream,
/// with all questions in flight on it, at a message of more than 64 KiB.
const QUESTION_BYTES_MAX: usize = 60 * 1024;

/// A question: may the holder of this token do this?
///
/// [`Question::new`] asks only whether the token is valid. Each further call adds a condition, and the verdict is
/// [`Allowed`](crate::Verdict::Allowed) only if the key meets all of them.
///
/// ```
/// use key_authority_client::Question;
///
/// # fn question(token: &str, client_ip: std::net::IpAddr) -> Question {
/// Question::new(token)
///     .account("acme")
///     .project("web")
///     .scopes(["deploy", "read"])
///     .client_ip(client_ip)
/// # }
/// ```
///
/// The values of `account`, `project` and `key_id` must not be empty. In the API an empty field sets no condition, so
/// an empty text from a path or a header would remove the condition. [`Verifier::verify`](crate::Verifier::verify)
/// returns [`Error::InvalidQuestion`] for it.
///
/// `Debug` does not show the token, and its memory is wiped on drop. The encoded copy in the transport is not wiped.
#[derive(Clone)]
pub struct Question {
    token: Token,
    /// All conditions. Its token stays empty until the question is sent.
    request: v1::VerifyRequest,
    empty_field: Option<&'static str>,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("token", &self.token)
            .field("key_id", &self.request.key_id)
            .field("account", &self.request.account)
            .field("project", &self.request.project)
            .field("scopes", &self.request.scopes)
            .field("client_ip", &self.request.client_ip)
            .finish_non_exhaustive()
    }
}

impl Question {
    /// Asks whether the token is valid. `token` is what its holder presented, without `Bearer`.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self::from_token(Token::new(token.into()))
    }

    pub(crate) fn from_token(token: Token) -> Self {
        Self { token, request: v1::VerifyRequest::default(), empty_field: None }
    }

    /// Requires that the key covers this project. At most 256 characters.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.request.project = self.non_empty("project", project.into());
        self
    }

    /// Requires that the key has these scopes, in addition to those of earlier calls. At most 100 scopes of 1 to 128
    /// characters each.
    #[must_use]
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.request.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// Requires that the key belongs to this account. At most 64 characters.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.request.account = self.non_empty("account", account.into());
        self
    }

    /// Requires that the key has this ID, for holders that present a pair of ID and secret. At most 64 characters.
    #[must_use]
    pub fn key_id(mut self, key_id: impl Into<String>) -> Self {
        self.request.key_id = self.non_empty("key_id", key_id.into());
        self
    }

    /// Sets the address from which the holder calls. A key that is restricted to networks is denied without it.
    #[must_use]
    pub fn client_ip(mut self, address: IpAddr) -> Self {
        self.request.client_ip = address.to_string();
        self
    }

    fn non_empty(&mut self, field: &'static str, value: String) -> String {
        if value.is_empty() {
            self.empty_field = Some(field);
        }
        value
    }

    /// Whether the token is empty or too long. The API defines the verdict for it, so no request is necessary.
    pub(crate) fn is_malformed(&self) -> bool {
        !(1..=TOKEN_BYTES_MAX).contains(&self.token.expose().len())
    }

    /// Rejects questions that must not be sent.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if let Some(field) = self.empty_field {
            return Err(Error::InvalidQuestion { message: format!("{field} must not be empty") });
        }
        if self.request.encoded_len() + self.token.expose().len() > QUESTION_BYTES_MAX {
            return Err(Error::InvalidQuestion { message: "the fields are longer than their limits".to_owned() });
        }
        Ok(())
    }

    /// The message to send. It holds the token in plain text.
    pub(crate) fn into_request(self) -> v1::VerifyRequest {
        v1::VerifyRequest { token: self.token.into_exposed(), ..self.request }
    }

    /// The scopes that the key must have.
    #[cfg(feature = "tower")]
    pub(crate) fn required_scopes(&self) -> &[String] {
        &self.request.scopes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_condition_is_rejected() {
        for (field, question) in [
            ("project", Question::new("t").project("")),
            ("account", Question::new("t").account("")),
            ("key_id", Question::new("t").key_id("")),
        ] {
            let Err(Error::InvalidQuestion { message }) = question.validate() else { panic!("{field} was accepted") };
            assert!(message.starts_with(field), "{message}");
        }
        assert!(Question::new("t").project("p").account("a").key_id("k").validate().is_ok());
    }

    #[test]
    fn a_question_that_is_larger_than_any_valid_one_is_rejected() {
        let long = |length| "\u{10ffff}".repeat(length);
        let largest = Question::new("t".repeat(512))
            .project(long(256))
            .scopes(std::iter::repeat_n(long(128), 100))
            .account(long(64))
            .key_id(long(64))
            .client_ip("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap());
        assert!(largest.validate().is_ok(), "every field at its limit");
        let larger = Question::new("t").project("p".repeat(QUESTION_BYTES_MAX));
        assert!(matches!(larger.validate(), Err(Error::InvalidQuestion { .. })));
    }

    #[test]
    fn the_request_has_the_token_and_all_conditions() {
        let request = Question::new("t").account("a").project("p").scopes(["s"]).into_request();
        assert_eq!((request.token.as_str(), request.account.as_str(), request.project.as_str()), ("t", "a", "p"));
        assert_eq!(request.scopes, ["s"]);
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let shown = format!("{:?}", Question::new("canary").account("acme"));
        assert!(!shown.contains("canary") && shown.contains("acme"), "{shown}");
    }
}
