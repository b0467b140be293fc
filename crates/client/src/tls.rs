//! TLS settings of the connections to the authority.

#[cfg(feature = "tls")]
use key_authority_certificates::{certificates, check_pair, private_key};
#[cfg(feature = "tls")]
use key_authority_text_io::without_mark;
use tonic::transport::Endpoint;
#[cfg(feature = "tls")]
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
#[cfg(feature = "tls")]
use zeroize::Zeroizing;

use crate::error::SetupError;

/// Which certificates to trust, and which one to present. Without the feature `tls` there is nothing to set.
#[derive(Clone, Default)]
pub(crate) struct TlsSettings {
    #[cfg(feature = "tls")]
    pub(crate) ca: Option<Vec<u8>>,
    #[cfg(feature = "tls")]
    pub(crate) identity: Option<ClientIdentity>,
}

/// A client certificate and its private key, both in PEM.
#[cfg(feature = "tls")]
#[derive(Clone)]
pub(crate) struct ClientIdentity {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Zeroizing<Vec<u8>>,
}

#[cfg(feature = "tls")]
impl TlsSettings {
    pub(crate) fn is_empty(&self) -> bool {
        self.ca.is_none() && self.identity.is_none()
    }

    /// Adds TLS to an endpoint, which was made of `url`.
    pub(crate) fn apply(&self, endpoint: Endpoint, url: &str) -> Result<Endpoint, SetupError> {
        let mut config = match &self.ca {
            Some(ca) => {
                // tonic accepts a file without any, and then trusts no server at all.
                certificates(ca).map_err(|error| SetupError::InvalidCa(error.into()))?;
                let ca = without_mark(ca).map_err(|error| SetupError::InvalidCa(error.into()))?;
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca))
            }
            None => with_default_roots(ClientTlsConfig::new(), url)?,
        };
        if let Some(identity) = &self.identity {
            config = config.identity(identity.checked().map_err(SetupError::InvalidIdentity)?);
        }
        let invalid = |source| SetupError::InvalidEndpoint { endpoint: url.to_owned(), source: Box::new(source) };
        endpoint.tls_config(config).map_err(invalid)
    }
}

#[cfg(feature = "tls")]
impl ClientIdentity {
    fn checked(&self) -> Result<Identity, Box<dyn std::error::Error + Send + Sync>> {
        check_pair(&certificates(&self.certificate)?, &private_key(&self.key)?)?;
        Ok(Identity::from_pem(without_mark(&self.certificate)?, without_mark(&self.key)?))
    }
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unused_self, reason = "the same methods as with the feature `tls`")]
impl TlsSettings {
    pub(crate) fn is_empty(&self) -> bool {
        true
    }

    pub(crate) fn apply(&self, _: Endpoint, url: &str) -> Result<Endpoint, SetupError> {
        Err(SetupError::TlsDisabled(url.to_owned()))
    }
}

/// The system's certificates win when both root features are on: another crate that enables `tls-webpki-roots` must not
/// change whom this service trusts.
#[cfg(feature = "tls-native-roots")]
#[expect(clippy::unnecessary_wraps, reason = "the same signature as without roots")]
fn with_default_roots(config: ClientTlsConfig, _: &str) -> Result<ClientTlsConfig, SetupError> {
    Ok(config.with_native_roots())
}

#[cfg(all(feature = "tls-webpki-roots", not(feature = "tls-native-roots")))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature as without roots")]
fn with_default_roots(config: ClientTlsConfig, _: &str) -> Result<ClientTlsConfig, SetupError> {
    Ok(config.with_webpki_roots())
}

#[cfg(all(feature = "tls", not(any(feature = "tls-native-roots", feature = "tls-webpki-roots"))))]
fn with_default_roots(_: ClientTlsConfig, url: &str) -> Result<ClientTlsConfig, SetupError> {
    Err(SetupError::NoRootCertificates(url.to_owned()))
}
