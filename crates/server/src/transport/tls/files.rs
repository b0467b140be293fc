//! The PEM files, and the rustls configuration made of them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use zeroize::Zeroizing;

/// Where the PEM files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, ours first.
    pub cert: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
    /// Certificates of which one must have signed each client's certificate. Without it clients show none.
    pub client_ca: Option<PathBuf>,
}

/// TLS cannot be set up with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("--{flag} {path}: cannot be read")]
    Unreadable {
        /// The flag that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is not PEM, or not the PEM of what it should be.
    #[error("--{flag} {path}: holds no {expected} in PEM")]
    NotPem {
        /// The flag that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What the parser says.
        #[source]
        source: pem::Error,
    },
    /// Certificate and key do not go together, or one of them is of a kind that cannot be used.
    #[error("--tls-cert {cert} and --tls-key {key}: not a usable certificate with its key")]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        #[source]
        source: rustls::Error,
    },
    /// A certificate of the client CA file cannot be trusted.
    #[error("--client-ca {path}: holds a certificate that cannot be a trust anchor")]
    NotAnAnchor {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        #[source]
        source: rustls::Error,
    },
    /// The client CA file makes no verifier.
    #[error("--client-ca {path}: cannot be used to verify clients")]
    NoVerifier {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        #[source]
        source: VerifierBuilderError,
    },
}

/// The bytes of the files at one time.
pub(super) struct Content {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

const CERT: &str = "tls-cert";
const KEY: &str = "tls-key";
const CLIENT_CA: &str = "client-ca";

async fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(path).await.map_err(|source| TlsError::Unreadable { flag, path: path.to_owned(), source })
}

fn certificates(flag: &'static str, path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let not_pem = |source| TlsError::NotPem { flag, path: path.to_owned(), expected: "certificate", source };
    let certificates = CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>().map_err(not_pem)?;
    if certificates.is_empty() {
        return Err(not_pem(pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn private_key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    let not_pem = |source| TlsError::NotPem { flag: KEY, path: path.to_owned(), expected: "private key", source };
    PrivateKeyDer::from_pem_slice(bytes).map_err(not_pem)
}

impl TlsFiles {
    pub(super) async fn read(&self) -> Result<Content, TlsError> {
        let cert = read(CERT, &self.cert).await?;
        let key = Zeroizing::new(read(KEY, &self.key).await?);
        let client_ca = match &self.client_ca {
            Some(path) => Some(read(CLIENT_CA, path).await?),
            None => None,
        };
        Ok(Content { cert, key, client_ca })
    }

    /// All that is wrong with the files: with each alone, or else with them together.
    pub async fn faults(&self) -> Vec<TlsError> {
        let mut faults = Vec::new();
        faults.extend(read(CERT, &self.cert).await.and_then(|bytes| certificates(CERT, &self.cert, &bytes)).err());
        let key = read(KEY, &self.key).await.map(Zeroizing::new);
        faults.extend(key.and_then(|bytes| private_key(&self.key, &bytes)).err());
        if let Some(path) = &self.client_ca {
            faults.extend(read(CLIENT_CA, path).await.and_then(|bytes| certificates(CLIENT_CA, path, &bytes)).err());
        }
        if faults.is_empty() {
            faults.extend(self.read().await.and_then(|content| content.server_config(self)).err());
        }
        faults
    }
}

impl Content {
    /// Tells two contents apart. Each part is hashed with its length, so that bytes cannot move from one file to the next.
    pub(super) fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for part in [Some(self.cert.as_slice()), Some(self.key.as_slice()), self.client_ca.as_deref()] {
            let part = part.unwrap_or_default();
            hasher.update(&part.len().to_le_bytes()).update(part);
        }
        hasher.finalize()
    }

    pub(super) fn server_config(&self, files: &TlsFiles) -> Result<ServerConfig, TlsError> {
        let chain = certificates(CERT, &files.cert, &self.cert)?;
        let key = private_key(&files.key, &self.key)?;
        let unusable = |source| TlsError::Unusable { cert: files.cert.clone(), key: files.key.clone(), source };
        // The provider is named, not taken from the process: another library may install its own.
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match (&files.client_ca, &self.client_ca) {
            (Some(path), Some(bytes)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(CLIENT_CA, path, bytes)? {
                    roots.add(certificate).map_err(|source| TlsError::NotAnAnchor { path: path.clone(), source })?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|source| TlsError::NoVerifier { path: path.clone(), source })?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}
