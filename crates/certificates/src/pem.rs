//! Reads PEM files.

use std::fmt;

use key_authority_text_io::without_mark;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What a file should contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Certificate,
    PrivateKey,
}

/// What a file contains instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Utf16,
    Binary,
    EncryptedKey,
    PrivateKey,
    Certificate,
    Request,
    OtherFormat,
    Damaged,
    Text,
}

/// A file does not contain what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PemError {
    expected: Expected,
    found: Found,
}

impl fmt::Display for PemError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, command) = match self.expected {
            Expected::Certificate => ("certificate", "openssl x509"),
            Expected::PrivateKey => ("private key", "openssl pkey"),
        };
        write!(formatter, "contains no {expected} in PEM: ")?;
        match self.found {
            Found::Nothing => formatter.write_str("it is empty"),
            Found::Utf16 => formatter.write_str("it is UTF-16; save it as UTF-8"),
            Found::Binary => {
                write!(
                    formatter,
                    "it is binary; if it is DER, `{command} -inform der -in FILE -out FILE.pem` converts it"
                )
            }
            Found::EncryptedKey => {
                formatter.write_str("its private key is encrypted; `openssl pkey -in FILE -out PLAIN.key` decrypts it")
            }
            Found::PrivateKey => formatter.write_str("it contains a private key; are the files swapped?"),
            Found::Certificate => formatter.write_str("it contains a certificate; are the files swapped?"),
            Found::Request => formatter.write_str("it contains a certificate request, which a CA must sign first"),
            Found::OtherFormat => write!(formatter, "it has another format; `{command} -in FILE` may convert it"),
            Found::Damaged => formatter.write_str("its PEM is damaged; each BEGIN and END must be a line of its own"),
            Found::Text => formatter.write_str("it has no BEGIN line"),
        }
    }
}

/// Reads all certificates of a PEM file, in their order. There is at least one.
///
/// # Errors
/// [`PemError`] when there is none, or when a part of the file is damaged.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let error = |found| PemError { expected: Expected::Certificate, found };
    let text = without_mark(pem).map_err(|_| error(Found::Utf16))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        read => Err(error(found(text, read.is_err()))),
    }
}

/// Reads the first private key of a PEM file: PKCS#8, PKCS#1 or SEC1, not encrypted.
///
/// # Errors
/// [`PemError`] when there is none, or when a part of the file is damaged.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    use rustls::pki_types::pem::Error;
    let error = |found| PemError { expected: Expected::PrivateKey, found };
    let text = without_mark(pem).map_err(|_| error(Found::Utf16))?;
    PrivateKeyDer::from_pem_slice(text).map_err(|cause| error(found(text, !matches!(cause, Error::NoItemsFound))))
}

fn found(text: &[u8], is_damaged: bool) -> Found {
    let has = |words: &str| text.windows(words.len()).any(|window| window == words.as_bytes());
    if text.iter().all(u8::is_ascii_whitespace) {
        Found::Nothing
    } else if std::str::from_utf8(text).is_err() || text.contains(&0) {
        Found::Binary
    } else if has("ENCRYPTED") {
        Found::EncryptedKey
    } else if is_damaged {
        Found::Damaged
    } else if has("-----BEGIN CERTIFICATE REQUEST-----") || has("-----BEGIN NEW CERTIFICATE REQUEST-----") {
        Found::Request
    } else if has("-----BEGIN CERTIFICATE-----") {
        Found::Certificate
    } else if ["", "RSA ", "EC "].iter().any(|kind| has(&format!("-----BEGIN {kind}PRIVATE KEY-----"))) {
        Found::PrivateKey
    } else if has("-----BEGIN ") {
        Found::OtherFormat
    } else {
        Found::Text
    }
}
