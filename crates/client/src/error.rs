//! Why there is no verdict. None of it is a denial: nothing was found out about the token.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::Duration;

use key_authority_proto::v1;
use tonic::Code;

/// Why a question has no verdict.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No replica answered in time. Asked again later, there may be an answer.
    #[error("no answer within {waited:?}; last: {trouble}")]
    Unavailable {
        /// The verifier's deadline.
        waited: Duration,
        /// What was in the way when it was last tried.
        trouble: String,
    },
    /// Stream after stream ended under it. It may be this very question that ends them, so it is not asked on and on.
    #[error("{times} streams ended before there was an answer; last: {trouble}")]
    Lost {
        /// How many.
        times: u32,
        /// What was last in the way.
        trouble: String,
    },
    /// The authority does not let this service ask: its own token is not accepted, or its key has not the permission `verify`.
    /// Whose token was asked about is not at fault.
    #[error("the authority does not let this service ask: {message}")]
    Caller {
        /// What the authority says.
        message: String,
    },
    /// The question breaks a rule of its fields.
    #[error("the question is not valid: {message}")]
    Invalid {
        /// Which field, and its rule.
        message: String,
    },
    /// The authority failed.
    #[error("the authority failed ({reason}): {message}")]
    Failed {
        /// The authority's word for it, such as `STORAGE_FAULT`.
        reason: String,
        /// What it says.
        message: String,
    },
    /// This was no answer of an authority.
    #[error("not an answer of Key Authority: {0}")]
    Garbled(&'static str),
}

impl Error {
    /// What an error on the stream means for the question. Never called for one that is asked again.
    pub(crate) fn of(error: v1::StreamError) -> Self {
        let v1::StreamError { code, reason, message } = error;
        match Code::from_i32(code) {
            Code::Unauthenticated | Code::PermissionDenied => Self::Caller { message },
            Code::InvalidArgument => Self::Invalid { message },
            _ => Self::Failed { reason, message },
        }
    }
}

/// Why a verifier cannot be made: what it was told cannot be right. That the authority is away is no such reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// No endpoint was named.
    #[error("no endpoint was named")]
    NoEndpoint,
    /// It must begin with `http://` or `https://`.
    #[error("the endpoint {0} does not begin with http:// or https://")]
    Scheme(String),
    /// It is no URL, or its certificates are none.
    #[error("the endpoint {endpoint} cannot be used")]
    Endpoint {
        /// As it was named.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Certificates were given, and an endpoint without TLS.
    #[error("certificates were given, but {0} is plain text")]
    PlainText(String),
    /// The file with the token cannot be read.
    #[error("the token file {} cannot be read", .path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no token, or it holds what no token can.
    #[error("the token of this service is empty, or is no token")]
    Token,
}

/// An error and its causes, joined; what a library repeats of its cause is told once.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = String::new();
    for error in std::iter::successors(Some(error), |&error| error.source()) {
        let part = error.to_string();
        if text.ends_with(&part) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&part);
    }
    text
}
