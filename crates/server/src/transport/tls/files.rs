//! The PEM files and their rustls configuration.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use key_authority_certificates::{CertificateProblem, PairError, PemError, check_pair, expiry, problems};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use zeroize::Zeroizing;

/// The paths of the PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, the server's own certificate first.
    pub cert: PathBuf,
    /// The private key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
    /// The CA certificates, one of which must have signed each client's certificate. Without it, clients present no
    /// certificate.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be set up with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("--{flag} {path}: cannot be read")]
    Unreadable {
        /// The flag that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is not PEM, or has other content than expected.
    #[error("--{flag} {path}: {source}")]
    NotPem {
        /// The flag that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What it contains instead.
        source: PemError,
    },
    /// The certificate and the key do not match, or one of them is of an unsupported kind.
    #[error("--tls-cert {cert} and --tls-key {key}: {source}")]
    NotAPair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: PairError,
    },
    /// The certificate has expired, and the one in use has not.
    #[error("--tls-cert {path}: the certificate has expired")]
    Expired {
        /// The file.
        path: PathBuf,
    },
    /// rustls rejects the certificate or the key.
    #[error("--tls-cert {cert} and --tls-key {key}: not a usable certificate and key")]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The error of rustls.
        #[source]
        source: rustls::Error,
    },
    /// A certificate in the client CA file cannot be a trust anchor.
    #[error("--client-ca {path}: contains a certificate that cannot be a trust anchor")]
    NotAnAnchor {
        /// The file.
        path: PathBuf,
        /// The error of rustls.
        #[source]
        source: rustls::Error,
    },
    /// The client CA file cannot be used to verify clients.
    #[error("--client-ca {path}: cannot be used to verify clients")]
    NoVerifier {
        /// The file.
        path: PathBuf,
        /// The error of rustls.
        #[source]
        source: VerifierBuilderError,
    },
}

/// The content of the files at one time.
pub(super) struct Content {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

const CERT: &str = "tls-cert";
const KEY: &str = "tls-key";
const CLIENT_CA: &str = "client-ca";

async fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let file = path.to_owned();
    let read = tokio::task::spawn_blocking(move || key_authority_text_io::read_bytes(&file)).await;
    let read = read.unwrap_or_else(|error| Err(error.into()));
    read.map_err(|source| TlsError::Unreadable { flag, path: path.to_owned(), source })
}

fn certificates(flag: &'static str, path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    key_authority_certificates::certificates(bytes).map_err(|source| not_pem(flag, path, source))
}

fn private_key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    key_authority_certificates::private_key(bytes).map_err(|source| not_pem(KEY, path, source))
}

fn not_pem(flag: &'static str, path: &Path, source: PemError) -> TlsError {
    TlsError::NotPem { flag, path: path.to_owned(), source }
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

    /// Returns why clients will reject the server's certificate at `now`. Without a readable certificate there is no
    /// reason.
    pub(crate) async fn problems(&self, now: UnixTime) -> Vec<CertificateProblem> {
        self.read().await.map_or_else(|_| Vec::new(), |content| content.problems(now))
    }

    /// Returns all errors of the files: of each file alone, or else of the files together.
    pub async fn errors(&self) -> Vec<TlsError> {
        let mut errors = Vec::new();
        errors.extend(read(CERT, &self.cert).await.and_then(|bytes| certificates(CERT, &self.cert, &bytes)).err());
        let key = read(KEY, &self.key).await.map(Zeroizing::new);
        errors.extend(key.and_then(|bytes| private_key(&self.key, &bytes)).err());
        if let Some(path) = &self.client_ca {
            errors.extend(read(CLIENT_CA, path).await.and_then(|bytes| certificates(CLIENT_CA, path, &bytes)).err());
        }
        if errors.is_empty() {
            errors.extend(self.read().await.and_then(|content| content.server_config(self)).err());
        }
        errors
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Content").finish_non_exhaustive()
    }
}

impl Content {
    /// Returns why clients will reject the server's certificate at `now`.
    pub(super) fn problems(&self, now: UnixTime) -> Vec<CertificateProblem> {
        let chain = key_authority_certificates::certificates(&self.cert).unwrap_or_default();
        chain.first().map_or_else(Vec::new, |certificate| problems(certificate, now))
    }

    /// Returns when the server's certificate expires, in seconds since the Unix epoch.
    pub(super) fn expiry(&self) -> Option<u64> {
        let chain = key_authority_certificates::certificates(&self.cert).ok()?;
        chain.first().and_then(expiry).map(|time| time.as_secs())
    }

    /// Returns a digest of the content. Each part is hashed with its length, so that bytes cannot move from one file to
    /// the next.
    pub(super) fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for part in [Some(self.cert.as_slice()), Some(self.key.as_slice()), self.client_ca.as_deref()] {
            let part = part.unwrap_or_default();
            hasher.update(&part.len().to_le_bytes()).update(part);
        }
        hasher.finalize()
    }

    /// Returns the configuration of these files, without protocols.
    pub(super) fn server_config(&self, files: &TlsFiles) -> Result<ServerConfig, TlsError> {
        let chain = certificates(CERT, &files.cert, &self.cert)?;
        let key = private_key(&files.key, &self.key)?;
        check_pair(&chain, &key).map_err(|source| TlsError::NotAPair {
            cert: files.cert.clone(),
            key: files.key.clone(),
            source,
        })?;
        let unusable = |source| TlsError::Unusable { cert: files.cert.clone(), key: files.key.clone(), source };
        // The provider is explicit and not the process default, which another library may install.
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
        builder.with_single_cert(chain, key).map_err(unusable)
    }
}
