//! The parameters of a form (RFC 6749, appendix B).

use std::borrow::Cow;

use axum::body::Body;
use axum::response::Response;
use bytes::BytesMut;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use url::form_urlencoded;

use super::caller::{oauth_failed, oauth_invalid};
use crate::transport::budget::{OverBudget, RequestCharge};

/// The largest form, in bytes.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// The parameters of a form, each of which is set once and not empty.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the form of a request that may have the parameters in `known`.
    ///
    /// An unknown parameter is an error: a misspelled `scope` must not demand nothing. So is an empty one, which comes
    /// from a template without its value.
    ///
    /// # Errors
    /// The response to a form that is malformed.
    pub(super) async fn read(
        headers: &HeaderMap,
        body: Body,
        charge: RequestCharge,
        known: &[&str],
    ) -> Result<Self, Response> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let message = "the content type must be application/x-www-form-urlencoded";
            return Err(oauth_invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        if headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
        {
            return Err(oauth_invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed bodies are not supported"));
        }
        let body = collect(body, charge, FORM_BYTES_MAX).await.map_err(|error| match error {
            CollectError::Incomplete => oauth_invalid(StatusCode::BAD_REQUEST, "the body is not complete"),
            CollectError::TooLarge => {
                let message = format!("the body is larger than {FORM_BYTES_MAX} bytes");
                oauth_invalid(StatusCode::PAYLOAD_TOO_LARGE, &message)
            }
            CollectError::OverBudget(over) => oauth_failed(over.into()),
        })?;
        Self::parse(&body, known).map_err(|message| oauth_invalid(StatusCode::BAD_REQUEST, &message))
    }

    fn parse(text: &[u8], known: &[&str]) -> Result<Self, String> {
        let mut found = Vec::new();
        for (name, value) in form_urlencoded::parse(text) {
            // The message has no name that the client made up.
            if !known.contains(&name.as_ref()) {
                return Err(format!("the parameters must be among {}", known.join(", ")));
            }
            if value.is_empty() {
                return Err(format!("the parameter {name} must not be empty; omit it if nothing is required"));
            }
            if found.iter().any(|(other, _): &(String, String)| *other == name) {
                return Err(format!("the parameter {name} must be set once"));
            }
            found.push((name.into_owned(), Cow::into_owned(value)));
        }
        Ok(Self(found))
    }

    /// Returns the value of a parameter; empty if it is not set.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Returns the value of a required parameter.
    ///
    /// # Errors
    /// The response to a form without it.
    #[expect(clippy::result_large_err, reason = "the rejection is sent at once")]
    pub(super) fn required(&self, name: &str) -> Result<&str, Response> {
        match self.get(name) {
            "" => Err(oauth_invalid(StatusCode::BAD_REQUEST, &format!("the parameter {name} is required"))),
            value => Ok(value),
        }
    }
}

/// Why a body was not read.
pub(crate) enum CollectError {
    /// The peer did not send all of it.
    Incomplete,
    /// It has more bytes than the maximum.
    TooLarge,
    /// The connection holds too much.
    OverBudget(OverBudget),
}

/// Reads a body of at most `bytes_max`, and charges its bytes to the connection as it arrives.
///
/// # Errors
/// [`CollectError`].
pub(crate) async fn collect(
    mut body: Body,
    mut charge: RequestCharge,
    bytes_max: usize,
) -> Result<BytesMut, CollectError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|_| CollectError::Incomplete)?.into_data() else { continue };
        if bytes.len() + chunk.len() > bytes_max {
            return Err(CollectError::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
        charge.set(bytes.len()).map_err(CollectError::OverBudget)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_is_known_set_once_and_not_empty() {
        let parse = |text: &str| Form::parse(text.as_bytes(), &["token", "scope"]);
        let form = parse("token=a%2Bb+c&scope=read+write").ok().unwrap();
        assert_eq!((form.get("token"), form.get("scope"), form.get("account")), ("a+b c", "read write", ""));
        for (text, message) in [
            ("token=a&scop=x", "the parameters must be among token, scope"),
            ("token=a&scope=", "the parameter scope must not be empty; omit it if nothing is required"),
            ("token=a&token=a", "the parameter token must be set once"),
        ] {
            assert_eq!(parse(text).err().as_deref(), Some(message), "{text}");
        }
    }
}
