//! Why one replica gave no answer.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};

use crate::error::SetupError;

/// The failure of one endpoint, as the source of a public error.
#[derive(Debug, thiserror::Error)]
#[error("replica {endpoint} failed")]
pub(crate) struct EndpointError {
    pub(crate) endpoint: String,
    pub(crate) source: ReplicaError,
}

/// Why a replica gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplicaError {
    #[error("cannot load the token of this service")]
    Token(#[source] SetupError),
    #[error("connection failed{}", explanation(.0))]
    Connect(#[from] tonic::transport::Error),
    #[error(transparent)]
    Status(StatusError),
    #[error("the stream did not open within {0:?}")]
    OpenTimeout(Duration),
    #[error("health status is not SERVING")]
    NotServing,
    #[error("UNAVAILABLE: {0}")]
    Unavailable(String),
    #[error("no response within {0:?}")]
    ResponseTimeout(Duration),
}

impl ReplicaError {
    /// The message of a replica that rejects the token of this service.
    pub(crate) fn caller_rejection(&self) -> Option<&str> {
        match self {
            Self::Status(StatusError(status))
                if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) =>
            {
                Some(status.message())
            }
            _ => None,
        }
    }
}

/// Returns the end of a sentence with the words for a failure of TLS; otherwise nothing.
#[cfg(feature = "tls")]
fn explanation(error: &(dyn StdError + 'static)) -> String {
    key_authority_certificates::explain(error).map_or_else(String::new, |words| format!(": {words}"))
}

#[cfg(not(feature = "tls"))]
fn explanation(_: &(dyn StdError + 'static)) -> String {
    String::new()
}

impl From<Status> for ReplicaError {
    fn from(status: Status) -> Self {
        Self::Status(StatusError(status))
    }
}

/// A gRPC status in one line. The `Display` of [`Status`] also lists its details and metadata.
#[derive(Debug)]
pub(crate) struct StatusError(Status);

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code(), self.0.message())?;
        self.0.source().map_or(Ok(()), |source| f.write_str(&explanation(source)))
    }
}

impl StdError for StatusError {
    /// Skips the status itself, which says the same as `Display` in other words.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use key_authority_text_io::error_chain::whole;

    #[test]
    fn a_status_is_written_once() {
        let rejected = whole(&ReplicaError::from(Status::unauthenticated("unknown caller")));
        assert_eq!(rejected, "The request does not have valid authentication credentials: unknown caller");
        let broken = Status::from_error(Box::new(std::io::Error::other("broken pipe")));
        assert_eq!(whole(&ReplicaError::from(broken)), "Unknown error: broken pipe");
    }
}
