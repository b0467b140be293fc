//! Whether a private key belongs to a certificate.

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;

/// Why a private key cannot be used with a chain of certificates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// The key has an unsupported type.
    #[error("the private key has an unsupported type; supported are ECDSA with P-256 or P-384, Ed25519 and RSA")]
    UnsupportedKey,
    /// A certificate cannot be parsed.
    #[error("certificate {position} of the file is malformed")]
    Malformed {
        /// Its position, counted from 1.
        position: usize,
    },
    /// The key belongs to another certificate of the chain than the first.
    #[error(
        "the private key belongs to certificate {position} of the file; put that certificate first, and the one of its \
         issuer after it"
    )]
    WrongOrder {
        /// Its position, counted from 1.
        position: usize,
    },
    /// The key belongs to none of the certificates.
    #[error(
        "the private key belongs to another certificate; `openssl pkey -in KEY -pubout` and `openssl x509 -in \
         CERTIFICATE -noout -pubkey` must print the same"
    )]
    OtherCertificate,
}

/// Checks that `key` belongs to the first certificate of `chain`.
///
/// # Errors
/// [`PairError`].
pub fn check_pair(chain: &[CertificateDer<'_>], key: &PrivateKeyDer<'_>) -> Result<(), PairError> {
    let key = any_supported_type(key).map_err(|_| PairError::UnsupportedKey)?;
    let public_key = key.public_key().ok_or(PairError::UnsupportedKey)?;
    for (position, certificate) in (1..).zip(chain) {
        let parsed = ParsedCertificate::try_from(certificate).map_err(|_| PairError::Malformed { position })?;
        if parsed.subject_public_key_info() == public_key {
            return if position == 1 { Ok(()) } else { Err(PairError::WrongOrder { position }) };
        }
    }
    Err(PairError::OtherCertificate)
}
