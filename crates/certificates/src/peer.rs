//! Why a peer's certificate, or this side's, was rejected in a TLS handshake.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::server_certificate::CertificateProblem;

/// Why a TLS connection to a server failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PeerProblem {
    #[error("the server's certificate {0}")]
    Certificate(CertificateProblem),
    #[error(
        "the server's certificate is not for {expected}, but for {}; connect by a name of the certificate, or issue it \
         with subjectAltName {expected}",
        if presented.is_empty() { "no name at all (the common name does not count)".to_owned() }
        else { presented.join(", ") }
    )]
    Name { expected: String, presented: Vec<String> },
    #[error(
        "no trusted CA has signed the server's certificate; trust the CA that did. If an intermediate CA did, append its \
         certificate to the server's certificate file"
    )]
    UnknownIssuer,
    #[error(
        "the server's certificate was not signed by the trusted CA, but by one of the same name; was the CA made anew? \
         Trust the certificate of the present one"
    )]
    BadSignature,
    #[error("the server requires a client certificate (mutual TLS): set --client-cert and --client-key")]
    ClientCertificateRequired,
    #[error(
        "the server rejected the client certificate (mutual TLS): none of the CAs that it trusts for clients has signed \
         it; set --client-cert to one that such a CA has signed"
    )]
    ClientCertificateRejected,
    #[error(
        "the server rejected the client certificate (mutual TLS): it has expired; set --client-cert to a renewed one"
    )]
    ClientCertificateExpired,
    #[error("the server does not use TLS at this address")]
    PlainText,
}

/// What the alerts of a server mean.
const ALERTS: [(AlertDescription, PeerProblem); 6] = [
    (AlertDescription::CertificateRequired, PeerProblem::ClientCertificateRequired),
    (AlertDescription::CertificateExpired, PeerProblem::ClientCertificateExpired),
    (AlertDescription::UnknownCA, PeerProblem::ClientCertificateRejected),
    (AlertDescription::BadCertificate, PeerProblem::ClientCertificateRejected),
    (AlertDescription::UnsupportedCertificate, PeerProblem::ClientCertificateRejected),
    (AlertDescription::DecryptError, PeerProblem::ClientCertificateRejected),
];

impl PeerProblem {
    /// Returns the problem of an error, if there are words for it.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        Some(match error {
            Error::InvalidCertificate(error) => return Self::of_certificate(error),
            Error::AlertReceived(alert) => return Self::of_alert(*alert),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::PlainText,
            _ => return None,
        })
    }

    fn of_alert(alert: AlertDescription) -> Option<Self> {
        ALERTS.into_iter().find(|(known, _)| *known == alert).map(|(_, problem)| problem)
    }

    /// Returns the problem of an error that hides its cause. In TLS 1.3, a server rejects a client after the handshake,
    /// when HTTP/2 reads; h2 shows the alert in its text, but not as its source.
    fn of_hidden_alert(error: &dyn StdError) -> Option<Self> {
        let text = error.to_string();
        let is_shown = |alert| text.ends_with(&Error::AlertReceived(alert).to_string());
        ALERTS.into_iter().find(|(alert, _)| is_shown(*alert)).map(|(_, problem)| problem)
    }

    fn of_certificate(error: &CertificateError) -> Option<Self> {
        Some(match error {
            CertificateError::NotValidForNameContext { expected, presented } => {
                Self::Name { expected: expected.to_str().into_owned(), presented: presented.clone() }
            }
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::BadSignature => Self::BadSignature,
            _ => return CertificateProblem::of(error).map(Self::Certificate),
        })
    }
}

/// Returns in words why a TLS connection to a server failed, if `error` or one of its causes is an error of rustls for
/// which there are words.
#[must_use]
pub fn explain(error: &(dyn StdError + 'static)) -> Option<String> {
    std::iter::successors(Some(error), |&error| cause(error))
        .find_map(|error| match error.downcast_ref::<Error>() {
            Some(error) => PeerProblem::of(error),
            None => PeerProblem::of_hidden_alert(error),
        })
        .map(|problem| problem.to_string())
}

/// The cause of an error; of an I/O error that contains another one, that one.
fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}
