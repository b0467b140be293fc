//! The settings of a verifier.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use key_authority_proto::{EndpointError, EndpointUrl};
use tonic::transport::Endpoint;

use crate::error::SetupError;
#[cfg(feature = "tls")]
use crate::tls::ClientIdentity;
use crate::tls::TlsSettings;
use crate::token::Token;
use crate::token_source::TokenSource;
use crate::verifier::Verifier;

const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that broke without a FIN or RST is detected after the interval and the timeout together.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

impl Verifier {
    /// Returns a builder with default settings: no endpoint, no token, a deadline of 5 s.
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder::new()
    }
}

/// Builds a [`Verifier`]. Get one from [`Verifier::builder`].
///
/// `Debug` shows neither the token nor the private key.
///
/// ```no_run
/// use std::time::Duration;
///
/// use key_authority_client::Verifier;
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let verifier = Verifier::builder()
///     // One connection to each replica.
///     .endpoint("http://127.0.0.1:50051")
///     .endpoint("http://127.0.0.1:50052")
///     // The token of a key of account `system` with the scope `verify`.
///     .token_file("/run/secrets/checkout.token")
///     .deadline(Duration::from_secs(2))
///     .connect()
///     .await?;
/// // Optional: `connect` returns before there is a connection.
/// verifier.wait_until_ready().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct VerifierBuilder {
    endpoints: Vec<String>,
    token_source: TokenSource,
    deadline: Duration,
    tls: TlsSettings,
}

impl fmt::Debug for VerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The private key must not be shown.
        f.debug_struct("VerifierBuilder")
            .field("endpoints", &self.endpoints)
            .field("token_source", &self.token_source)
            .field("deadline", &self.deadline)
            .field("has_tls_settings", &!self.tls.is_empty())
            .finish()
    }
}

impl VerifierBuilder {
    fn new() -> Self {
        Self {
            endpoints: Vec::new(),
            token_source: TokenSource::None,
            deadline: DEFAULT_DEADLINE,
            tls: TlsSettings::default(),
        }
    }

    /// Adds a replica: `http://HOST:PORT` for plain text, `https://HOST:PORT` for TLS. `grpc://` and `grpcs://` mean the
    /// same. Names for gRPC's resolvers, such as `dns:///HOST:PORT`, are rejected: add each replica.
    ///
    /// Each endpoint gets one connection. Questions are balanced over all endpoints.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoints.push(url.into());
        self
    }

    /// Sets the token of this service. Its key must belong to account `system` and have the scope `verify`.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token_source = TokenSource::Token(Token::new(token.into()));
        self
    }

    /// Reads the token of this service from a file. White space around the token is ignored.
    ///
    /// The file is read again for each connection, and a connection lives at most five minutes. So renew the token with
    /// an overlap of more than five minutes, and replace the file: no restart is necessary.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_source = TokenSource::File(path.into());
        self
    }

    /// Sets the time limit of one question, all retries included; 5 s by default.
    ///
    /// Set less when your own callers wait less. Set more than a restart of the authority takes if questions must
    /// survive the restart of its only replica.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Trusts these certificates in PEM **instead of** the default ones.
    #[cfg(feature = "tls")]
    pub fn ca_certificate(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.tls.ca = Some(pem.as_ref().to_vec());
        self
    }

    /// Presents this certificate to the authority (mutual TLS). Both the certificate and its private key are PEM.
    #[cfg(feature = "tls")]
    pub fn client_identity(mut self, certificate_pem: impl AsRef<[u8]>, key_pem: impl AsRef<[u8]>) -> Self {
        let (certificate, key) = (certificate_pem.as_ref().to_vec(), key_pem.as_ref().to_vec().into());
        self.tls.identity = Some(ClientIdentity { certificate, key });
        self
    }

    /// Checks the settings, reads the token file once, and starts one background task per endpoint.
    ///
    /// **It does not wait for a connection.** It returns before any replica is contacted, so that a service can start
    /// while the authority is down. Questions wait for a connection instead, within their deadline. Use
    /// [`Verifier::wait_until_ready`] to wait for the first connection.
    ///
    /// # Errors
    /// Returns a [`SetupError`] when a setting is invalid or the token file cannot be read.
    ///
    /// # Panics
    /// Panics when it is called outside a Tokio runtime.
    pub async fn connect(self) -> Result<Verifier, SetupError> {
        if self.endpoints.is_empty() {
            return Err(SetupError::NoEndpoint);
        }
        self.token_source.authorization().await?;
        let endpoints = self.endpoints.iter().map(|url| self.build_endpoint(url)).collect::<Result<Vec<_>, _>>()?;
        Ok(Verifier::start(endpoints, &self.token_source, self.deadline))
    }

    fn build_endpoint(&self, url: &str) -> Result<Endpoint, SetupError> {
        let unsupported =
            |error: EndpointError| SetupError::UnsupportedEndpoint(format!("{error}; {}", error.advice()));
        let parsed = EndpointUrl::parse(url).map_err(unsupported)?;
        let url = parsed.as_str();
        let invalid = |source| SetupError::InvalidEndpoint { endpoint: url.to_owned(), source: Box::new(source) };
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(invalid)?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        if parsed.is_tls() {
            self.tls.apply(endpoint, url)
        } else if self.tls.is_empty() {
            warn_if_remote(&endpoint);
            Ok(endpoint)
        } else {
            Err(SetupError::CertificatesWithoutTls(url.to_owned()))
        }
    }
}

/// Warns if the token crosses a network in clear text.
fn warn_if_remote(endpoint: &Endpoint) {
    let host = endpoint.uri().host().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    #[cfg(feature = "tracing")]
    if !is_local {
        tracing::warn!(endpoint = %endpoint.uri(), "no TLS; the token crosses the network in clear text");
    }
    #[cfg(not(feature = "tracing"))]
    let _ = is_local;
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn setup_error(builder: VerifierBuilder) -> SetupError {
        builder.connect().await.map(drop).unwrap_err()
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let shown = format!("{:?}", VerifierBuilder::new().token("canary"));
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn debug_does_not_show_the_private_key() {
        let shown = format!("{:?}", VerifierBuilder::new().client_identity("certificate", "canary"));
        let as_bytes = format!("{:?}", b"canary").trim_matches(['[', ']']).to_owned();
        assert!(!shown.contains("canary") && !shown.contains(&as_bytes), "{shown}");
    }

    #[tokio::test]
    async fn invalid_settings_are_rejected_before_a_connection_is_made() {
        let builder = || VerifierBuilder::new().endpoint("http://127.0.0.1:1");
        assert!(matches!(setup_error(VerifierBuilder::new()).await, SetupError::NoEndpoint));
        for endpoint in ["127.0.0.1:1", "dns:///127.0.0.1:1", "http://127.0.0.1:1/v1"] {
            let error = setup_error(VerifierBuilder::new().endpoint(endpoint)).await;
            assert!(matches!(error, SetupError::UnsupportedEndpoint(_)), "{error}");
            assert!(error.to_string().contains("; use http://127.0.0.1:1"), "{error}");
        }
        let missing_file = builder().token_file("/nowhere/token");
        assert!(matches!(setup_error(missing_file).await, SetupError::TokenFile { .. }));
        assert!(matches!(setup_error(builder().token(" ")).await, SetupError::InvalidToken));
    }

    #[cfg(feature = "tls")]
    #[tokio::test]
    async fn certificates_for_a_plain_text_endpoint_are_rejected() {
        let builder = VerifierBuilder::new().endpoint("http://127.0.0.1:1").ca_certificate("");
        assert!(matches!(setup_error(builder).await, SetupError::CertificatesWithoutTls(_)));
    }

    #[cfg(not(feature = "tls"))]
    #[tokio::test]
    async fn a_tls_endpoint_is_rejected_without_the_feature_tls() {
        let builder = VerifierBuilder::new().endpoint("https://127.0.0.1:1");
        assert!(matches!(setup_error(builder).await, SetupError::TlsDisabled(_)));
    }
}
