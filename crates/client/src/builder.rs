//! What a verifier is told before it asks.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::credential::Credential;
use crate::error::SetupError;
use crate::verifier::Verifier;

/// How long a question may take when nothing else is said.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// How often a connection is tried, and how long it may be silent then: what broke without a word is noticed after both.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// How a certificate begins in PEM.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The settings of a [`Verifier`]; made by [`Verifier::builder`]. `Debug` shows no secret.
#[derive(Clone)]
#[must_use]
pub struct Builder {
    endpoints: Vec<String>,
    credential: Credential,
    deadline: Duration,
    ca: Option<Certificate>,
    identity: Option<Identity>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // tonic's `Identity` would show the private key.
        f.debug_struct("Builder")
            .field("endpoints", &self.endpoints)
            .field("credential", &self.credential)
            .field("deadline", &self.deadline)
            .field("has_ca", &self.ca.is_some())
            .field("has_identity", &self.identity.is_some())
            .finish()
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { endpoints: Vec::new(), credential: Credential::None, deadline: DEADLINE, ca: None, identity: None }
    }

    /// A replica: `http://HOST:PORT` for plain text, `https://HOST:PORT` for TLS. Each that is named gets a connection, and its
    /// share of the questions.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoints.push(url.into());
        self
    }

    /// The token of this service: of a key of account `system` that has the scope `verify`.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.credential = Credential::Token(token.into());
        self
    }

    /// A file with that token, and nothing else but space around it. It is read anew for each connection, and none is older than
    /// five minutes: a renewal that lets the old token go on for longer goes unnoticed.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.credential = Credential::File(path.into());
        self
    }

    /// How long a question may take, with all that is tried for it; 5 s by default. A service whose own callers wait less should say
    /// so. One that lets questions outlast the restart of its only replica should say more than that takes.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Certificates in PEM that are trusted in place of the system's.
    pub fn ca_certificate(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.ca = Some(Certificate::from_pem(pem));
        self
    }

    /// The certificate and private key in PEM to show to an authority that asks for one.
    pub fn client_identity(mut self, certificate_pem: impl AsRef<[u8]>, key_pem: impl AsRef<[u8]>) -> Self {
        self.identity = Some(Identity::from_pem(certificate_pem, key_pem));
        self
    }

    /// Makes the verifier, which begins to connect. It does not wait for an answer, so that a service can start while the
    /// authority is away; the first questions wait instead, within their deadline.
    ///
    /// # Errors
    /// When the settings cannot be right. The authority is not asked.
    ///
    /// # Panics
    /// Outside a runtime of Tokio's.
    pub async fn connect(self) -> Result<Verifier, SetupError> {
        if self.endpoints.is_empty() {
            return Err(SetupError::NoEndpoint);
        }
        self.credential.authorization().await?;
        let endpoints = self.endpoints.iter().map(|url| self.place(url)).collect::<Result<Vec<_>, _>>()?;
        Ok(Verifier::start(endpoints, &self.credential, self.deadline))
    }

    fn place(&self, url: &str) -> Result<Endpoint, SetupError> {
        let is_tls = url.starts_with("https://");
        if !is_tls && !url.starts_with("http://") {
            return Err(SetupError::Scheme(url.to_owned()));
        }
        let unusable =
            |source: tonic::transport::Error| SetupError::Endpoint { endpoint: url.to_owned(), source: source.into() };
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(unusable)?
            .connect_timeout(CONNECT_TIME)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        if !is_tls {
            let has_certificates = self.ca.is_some() || self.identity.is_some();
            return if has_certificates { Err(SetupError::PlainText(url.to_owned())) } else { Ok(endpoint) };
        }
        let mut tls = match &self.ca {
            // It would be taken, and then trust nobody.
            Some(ca) if !ca.as_ref().windows(CERTIFICATE.len()).any(|part| part == CERTIFICATE) => {
                let source = "the certificates to trust hold none in PEM".into();
                return Err(SetupError::Endpoint { endpoint: url.to_owned(), source });
            }
            Some(ca) => ClientTlsConfig::new().ca_certificate(ca.clone()),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some(identity) = &self.identity {
            tls = tls.identity(identity.clone());
        }
        endpoint.tls_config(tls).map_err(unusable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_token_nor_private_key() {
        let shown = format!("{:?}", Builder::new().token("canary").client_identity("certificate", "canary"));
        let as_bytes = format!("{:?}", b"canary").trim_matches(['[', ']']).to_owned();
        assert!(!shown.contains("canary") && !shown.contains(&as_bytes), "{shown}");
    }

    #[tokio::test]
    async fn settings_that_cannot_be_right_are_refused_before_anything_is_asked() {
        let refused = async |builder: Builder| builder.connect().await.map(drop).unwrap_err();
        assert!(matches!(refused(Builder::new()).await, SetupError::NoEndpoint));
        let builder = Builder::new().endpoint("127.0.0.1:1");
        assert!(matches!(refused(builder).await, SetupError::Scheme(_)));
        let builder = Builder::new().endpoint("http://127.0.0.1:1").ca_certificate("");
        assert!(matches!(refused(builder).await, SetupError::PlainText(_)));
        let builder = Builder::new().endpoint("http://127.0.0.1:1").token_file("/nowhere/token");
        assert!(matches!(refused(builder).await, SetupError::TokenFile { .. }));
        let builder = Builder::new().endpoint("http://127.0.0.1:1").token(" ");
        assert!(matches!(refused(builder).await, SetupError::Token));
    }
}
