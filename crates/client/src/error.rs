//! Why there is no verdict, and why a verifier cannot be built.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use key_authority_proto::v1;
use tonic::Code;

/// An error that several callers can share as their cause.
pub(crate) type SharedError = Arc<dyn StdError + Send + Sync>;

/// Why a question has no verdict. It is never a denial: nothing was decided about the token.
///
/// `Display` does not repeat the causes. Follow [`source`](StdError::source) to log them.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No replica answered within the deadline.
    #[error("no verdict within {deadline:?}")]
    #[non_exhaustive]
    Unavailable {
        /// The verifier's deadline.
        deadline: Duration,
        /// The last failure of a replica. `None`: no replica has failed, and none has become ready.
        #[source]
        last_error: Option<Arc<dyn StdError + Send + Sync>>,
    },
    /// The connection was lost several times while the question was open. The question is not repeated any more,
    /// because it could be the cause.
    #[error("the connection was lost {times} times before a verdict arrived")]
    #[non_exhaustive]
    ConnectionLost {
        /// How many connections were lost.
        times: u32,
        /// The last failure of a replica.
        #[source]
        last_error: Option<Arc<dyn StdError + Send + Sync>>,
    },
    /// The authority rejects this service: its own token is not accepted, or its key lacks the scope `verify`. The
    /// token in the question is not the cause.
    #[error("the authority rejects this service's credentials: {message}")]
    #[non_exhaustive]
    CallerRejected {
        /// The message of the authority.
        message: String,
    },
    /// A field of the question is invalid.
    #[error("invalid question: {message}")]
    #[non_exhaustive]
    InvalidQuestion {
        /// The field, and the rule that it breaks.
        message: String,
    },
    /// The authority failed to process the question.
    #[error("the authority failed with {reason} (gRPC code {code}): {message}")]
    #[non_exhaustive]
    Server {
        /// The number of the gRPC code, such as 13 for `INTERNAL`.
        code: i32,
        /// The reason in the authority's error details, such as `STORAGE_FAULT`.
        reason: String,
        /// The message of the authority.
        message: String,
    },
    /// The response breaks the API's contract. The endpoint may not be a Key Authority.
    #[error("invalid response from the authority: {message}")]
    #[non_exhaustive]
    InvalidResponse {
        /// What is wrong with the response.
        message: &'static str,
    },
}

impl Error {
    /// Returns true when the same question can get a verdict later, without a change of the question or the
    /// configuration.
    ///
    /// The verifier has already retried within its deadline. Wait before you ask again, and longer each time.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::ConnectionLost { .. } => true,
            Self::Server { code, .. } => matches!(
                Code::from_i32(*code),
                Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted | Code::Unavailable
            ),
            Self::CallerRejected { .. } | Self::InvalidQuestion { .. } | Self::InvalidResponse { .. } => false,
        }
    }

    /// Converts the error of one question on a stream. The verifier retries `UNAVAILABLE` itself, so it never comes
    /// here.
    pub(crate) fn from_stream(error: v1::StreamError) -> Self {
        let v1::StreamError { code, reason, message } = error;
        match Code::from_i32(code) {
            Code::Unauthenticated | Code::PermissionDenied => Self::CallerRejected { message },
            Code::InvalidArgument => Self::InvalidQuestion { message },
            _ => Self::Server { code, reason, message },
        }
    }
}

/// Why a verifier cannot be built: a setting is invalid. An authority that cannot be reached is no setup error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The builder has no endpoint.
    #[error("no endpoint is set")]
    NoEndpoint,
    /// The URL has another form than `http://HOST:PORT` or `https://HOST:PORT`: what is wrong with it, and a right URL.
    #[error("{0}")]
    UnsupportedEndpoint(String),
    /// The URL is invalid, or its TLS settings are.
    #[error("invalid endpoint {endpoint}")]
    #[non_exhaustive]
    InvalidEndpoint {
        /// The URL, as it was given.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Certificates are set, but the endpoint does not use TLS.
    #[error("certificates are set, but the endpoint {0} does not use TLS")]
    CertificatesWithoutTls(String),
    /// The CA certificates contain no certificate in PEM.
    #[error("invalid CA certificates")]
    InvalidCa(#[source] Box<dyn StdError + Send + Sync>),
    /// The client certificate or its private key is not PEM, or they do not belong together.
    #[error("invalid client certificate or private key")]
    InvalidIdentity(#[source] Box<dyn StdError + Send + Sync>),
    /// The endpoint uses TLS, but this crate was compiled without it.
    #[error("the endpoint {0} uses TLS, but key-authority-client was compiled without the feature `tls`")]
    TlsDisabled(String),
    /// The endpoint uses TLS, but no certificate is trusted: neither a root feature is on, nor a CA certificate set.
    #[error(
        "the endpoint {0} uses TLS, but no certificate is trusted: set a CA certificate, or enable the feature \
         `tls-native-roots` or `tls-webpki-roots`"
    )]
    NoRootCertificates(String),
    /// The token file cannot be read.
    #[error("cannot read the token file {}", .path.display())]
    #[non_exhaustive]
    TokenFile {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The token of this service is empty, or contains characters that no token contains.
    #[error("the token of this service is empty or malformed")]
    InvalidToken,
}

#[cfg(test)]
mod tests {
    use key_authority_text_io::error_chain::whole;

    use super::*;

    #[test]
    fn the_causes_of_an_outage_are_its_sources() {
        let cause: SharedError = Arc::new(std::io::Error::other("broken pipe"));
        let error = Error::Unavailable { deadline: Duration::from_secs(5), last_error: Some(cause) };
        assert_eq!(whole(&error), "no verdict within 5s: broken pipe");
    }

    #[test]
    fn only_what_may_pass_by_itself_is_retryable() {
        let is_retryable = |code: Code| {
            Error::from_stream(v1::StreamError { code: code.into(), ..v1::StreamError::default() }).is_retryable()
        };
        for code in [Code::ResourceExhausted, Code::DeadlineExceeded] {
            assert!(is_retryable(code), "{code:?}");
        }
        for code in [Code::Unauthenticated, Code::PermissionDenied, Code::InvalidArgument, Code::Internal] {
            assert!(!is_retryable(code), "{code:?}");
        }
        assert!(Error::Unavailable { deadline: Duration::ZERO, last_error: None }.is_retryable());
        assert!(!Error::InvalidResponse { message: "" }.is_retryable());
    }
}
