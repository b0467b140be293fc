//! TLS settings of the connections to the authority.

use tonic::transport::Endpoint;
#[cfg(feature = "tls")]
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::error::SetupError;

/// The first line of a certificate in PEM.
#[cfg(feature = "tls")]
const CERTIFICATE_HEADER: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Which certificates to trust, and which one to present. Without the feature `tls` there is nothing to set.
#[derive(Clone, Default)]
pub(crate) struct TlsSettings {
    #[cfg(feature = "tls")]
    pub(crate) ca: Option<Certificate>,
    #[cfg(feature = "tls")]
    pub(crate) identity: Option<Identity>,
}

#[cfg(feature = "tls")]
impl TlsSettings {
    pub(crate) fn is_empty(&self) -> bool {
        self.ca.is_none() && self.identity.is_none()
    }

    /// Adds TLS to an endpoint, which was made of `url`.
    pub(crate) fn apply(&self, endpoint: Endpoint, url: &str) -> Result<Endpoint, SetupError> {
        let mut config = match &self.ca {
            // rustls accepts it, and then trusts no server at all.
            Some(ca) if !ca.as_ref().windows(CERTIFICATE_HEADER.len()).any(|part| part == CERTIFICATE_HEADER) => {
                return Err(SetupError::NoCertificate);
            }
            Some(ca) => ClientTlsConfig::new().ca_certificate(ca.clone()),
            None => with_default_roots(ClientTlsConfig::new(), url)?,
        };
        if let Some(identity) = &self.identity {
            config = config.identity(identity.clone());
        }
        let invalid = |source| SetupError::InvalidEndpoint { endpoint: url.to_owned(), source: Box::new(source) };
        endpoint.tls_config(config).map_err(invalid)
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
