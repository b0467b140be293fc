//! What clients will reject in a server's certificate, whichever CA and name they expect.

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

use crate::peer::PeerProblem;

/// Why clients reject a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// It is the certificate of a CA.
    #[error(
        "it is a CA certificate, as `openssl req -x509` makes it; some clients, keyctl among them, accept only a \
         certificate that a CA has signed. These commands make both: {} && {}",
        crate::CREATE_COMMANDS[0], crate::CREATE_COMMANDS[1]
    )]
    Ca,
    /// Its time is over.
    #[error("it has expired; renew it")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet; is the clock of this machine right?")]
    NotValidYet,
    /// Its extended key usage excludes servers.
    #[error("it is not for servers: its extendedKeyUsage lacks serverAuth")]
    NotForServers,
    /// It has no subject alternative name.
    #[error("it has no subjectAltName; clients do not read the common name")]
    NoName,
}

/// Returns the problems of a server's own certificate at `now`. A certificate that cannot be parsed has none here: it
/// cannot be used at all.
#[must_use]
pub fn problems(certificate: &CertificateDer<'_>, now: UnixTime) -> Vec<CertificateProblem> {
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return Vec::new() };
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    // Without a trusted CA, what is wrong with the certificate itself is found before its issuer is looked for.
    let verified = verify_server_cert_signed_by_trust_anchor(&parsed, &RootCertStore::empty(), &[], now, algorithms);
    let itself = verified.err().and_then(|error| match PeerProblem::of(&error)? {
        PeerProblem::Ca => Some(CertificateProblem::Ca),
        PeerProblem::Expired => Some(CertificateProblem::Expired),
        PeerProblem::NotValidYet => Some(CertificateProblem::NotValidYet),
        PeerProblem::NotForServers => Some(CertificateProblem::NotForServers),
        _ => None,
    });
    itself.into_iter().chain(has_no_name(&parsed).then_some(CertificateProblem::NoName)).collect()
}

fn has_no_name(parsed: &ParsedCertificate<'_>) -> bool {
    let Ok(other) = ServerName::try_from("name.invalid") else { return false };
    let error = verify_server_name(parsed, &other).err();
    matches!(
        error,
        Some(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) if presented.is_empty()
    )
}
