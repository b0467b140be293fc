//! What clients reject in a server's certificate, whichever CA and name they expect.

use std::time::Duration;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

/// Why clients reject a server's certificate, as the end of a sentence that begins with the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// It is the certificate of a CA.
    #[error(
        "is a CA certificate, as `openssl req -x509` makes it; clients such as keyctl accept only a certificate that a CA \
         has signed. These commands make both: {} && {}",
        crate::CREATE_COMMANDS[0], crate::CREATE_COMMANDS[1]
    )]
    Ca,
    /// Its time is over.
    #[error("has expired (or the clock of this machine is ahead); renew it")]
    Expired,
    /// Its time has not come.
    #[error("is not valid yet; is the clock of this machine right?")]
    NotValidYet,
    /// Its extended key usage excludes servers.
    #[error("is not for servers: its extendedKeyUsage lacks serverAuth")]
    NotForServers,
    /// It has no subject alternative name.
    #[error("has no subjectAltName; clients do not read the common name")]
    NoName,
}

impl CertificateProblem {
    /// Returns the problem of an error, if there are words for it.
    pub(crate) fn of(error: &CertificateError) -> Option<Self> {
        Some(match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotValidYet,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Self::NotForServers,
            // The type is of another crate; its name is what rustls shows too.
            CertificateError::Other(error) if format!("{error:?}").contains("CaUsedAsEndEntity") => Self::Ca,
            _ => return None,
        })
    }
}

/// Returns the problems of a server's own certificate at `now`. A certificate that cannot be parsed has none here: it
/// cannot be used at all.
#[must_use]
pub fn problems(certificate: &CertificateDer<'_>, now: UnixTime) -> Vec<CertificateProblem> {
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return Vec::new() };
    let itself = rejection(&parsed, now).as_ref().and_then(CertificateProblem::of);
    itself.into_iter().chain(has_no_name(&parsed).then_some(CertificateProblem::NoName)).collect()
}

/// Returns the time from which a certificate is not valid any more.
#[must_use]
pub fn expiry(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    // rustls shows the time only in the error about a certificate whose time is over.
    match rejection(&parsed, UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX)))? {
        CertificateError::ExpiredContext { not_after, .. } => Some(not_after),
        _ => None,
    }
}

/// What is wrong with a certificate itself. Without a trusted CA, that is found before its issuer is looked for.
fn rejection(parsed: &ParsedCertificate<'_>, now: UnixTime) -> Option<CertificateError> {
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    match verify_server_cert_signed_by_trust_anchor(parsed, &RootCertStore::empty(), &[], now, algorithms) {
        Err(Error::InvalidCertificate(error)) => Some(error),
        _ => None,
    }
}

fn has_no_name(parsed: &ParsedCertificate<'_>) -> bool {
    let Ok(other) = ServerName::try_from("name.invalid") else { return false };
    let error = verify_server_name(parsed, &other).err();
    matches!(
        error,
        Some(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) if presented.is_empty()
    )
}
