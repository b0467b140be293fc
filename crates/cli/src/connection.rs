//! The authority to call and the caller's token: from flags, the environment or the profile file, in this order.

#![expect(clippy::doc_markdown, reason = "the comments of the flags are the text of --help")]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use key_authority_certificates::{CertificateDer, certificates, check_pair, private_key};
use key_authority_proto::EndpointUrl;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::console::note;
use crate::errors::Error;
use crate::private_file;
use crate::profile::{self, Profile};
use crate::text_file;

/// The endpoint of an authority on this machine with default settings.
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:50051";
/// The variable with a token. There is no flag for a token, because other users can read the arguments of a process.
const TOKEN_VARIABLE: &str = "KEYCTL_TOKEN";
/// Timeout of the connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The flags that set the authority and the caller's token.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Connection {
    /// URL of the authority: http://HOST:PORT for plain text, https://HOST:PORT for TLS [default:
    /// http://127.0.0.1:50051]
    #[arg(long, global = true, env = "KEYCTL_ENDPOINT", value_name = "URL")]
    endpoint: Option<String>,
    /// File with the caller's token, accessible only to its owner. Overrides the variable KEYCTL_TOKEN, which contains
    /// a token
    #[arg(long, global = true, env = "KEYCTL_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of certificates to trust instead of the system's
    #[arg(long, global = true, env = "KEYCTL_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// PEM file of the client certificate, for mutual TLS
    #[arg(long, global = true, env = "KEYCTL_CLIENT_CERT", value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// PEM file of the client's private key, accessible only to its owner
    #[arg(long, global = true, env = "KEYCTL_CLIENT_KEY", value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// Name of a profile in the profile file
    #[arg(long, global = true, env = "KEYCTL_PROFILE", value_name = "NAME")]
    profile: Option<String>,
    /// Profile file [default: keyctl/config.toml in $XDG_CONFIG_HOME or ~/.config]
    #[arg(long, global = true, env = "KEYCTL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Timeout of a command, including retries
    #[arg(long, global = true, env = "KEYCTL_TIMEOUT", value_name = "LENGTH", default_value = "30s",
          value_parser = crate::fields::timeout)]
    timeout: Duration,
}

/// The authority to call and the caller's token.
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) authorization: Option<MetadataValue<Ascii>>,
    pub(crate) timeout: Duration,
}

impl Connection {
    /// Reads the files and combines all settings.
    pub(crate) fn resolve(self) -> Result<Target, Error> {
        let profile = profile::load(self.config.as_deref(), self.profile.as_deref())?;
        let timeout = self.timeout;
        let authorization = self.authorization(&profile)?;
        Ok(Target { endpoint: self.endpoint(profile)?, authorization, timeout })
    }

    fn authorization(&self, profile: &Profile) -> Result<Option<MetadataValue<Ascii>>, Error> {
        let in_environment = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.trim().is_empty());
        let in_file = |file: &PathBuf| Ok::<_, Error>((private_file::read(file)?, file.display().to_string()));
        let (token, place) = match (&self.token_file, in_environment, &profile.token_file) {
            (Some(file), _, _) | (None, None, Some(file)) => in_file(file)?,
            (None, Some(token), _) => (token, TOKEN_VARIABLE.to_owned()),
            (None, None, None) => return Ok(None),
        };
        let token = token.trim_start_matches(text_file::MARK).trim();
        if token.is_empty() {
            return Err(Error::NoToken { place });
        }
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().map_err(|_| Error::NoToken { place })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn endpoint(self, profile: Profile) -> Result<Endpoint, Error> {
        let text = self.endpoint.or(profile.endpoint).unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let url = EndpointUrl::parse(&text).map_err(Error::EndpointForm)?;
        let text = url.as_str().to_owned();
        let endpoint = Endpoint::from_shared(text.clone())
            .map_err(|error| Error::Endpoint { endpoint: text.clone(), source: error.into() })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true);
        let ca_file = self.ca_file.or(profile.ca_file);
        let identity = match (self.client_cert.or(profile.client_cert), self.client_key.or(profile.client_key)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(Error::IncompleteIdentity),
        };
        if !url.is_tls() {
            if !is_local(&endpoint) {
                note(&format!("the connection to {text} is not encrypted: others on the network can read the token"));
            }
            return match (ca_file, identity) {
                (None, None) => Ok(endpoint),
                _ => Err(Error::TlsFilesWithoutTls(text)),
            };
        }
        let mut tls = ClientTlsConfig::new();
        tls = match ca_file {
            Some(file) => tls.ca_certificate(Certificate::from_pem(read_certificates(&file)?.0)),
            None => tls.with_native_roots(),
        };
        if let Some((cert, key)) = identity {
            tls = tls.identity(read_identity(&cert, &key)?);
        }
        endpoint.tls_config(tls).map_err(|error| Error::Endpoint { endpoint: text, source: error.into() })
    }
}

/// Whether the endpoint is this machine.
fn is_local(endpoint: &Endpoint) -> bool {
    let host = endpoint.uri().host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Reads a file of certificates, as PEM and parsed. tonic would accept a file without any, and then trust no server.
fn read_certificates(path: &Path) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), Error> {
    let pem = text_file::read_bytes(path)?;
    let parsed = certificates(&pem).map_err(|source| Error::Pem { path: path.to_owned(), source })?;
    Ok((without_mark(&pem, path)?.to_vec(), parsed))
}

fn read_identity(cert: &Path, key: &Path) -> Result<Identity, Error> {
    let (certificate_pem, chain) = read_certificates(cert)?;
    let key_pem = private_file::read_bytes(key)?;
    let parsed = private_key(&key_pem).map_err(|source| Error::Pem { path: key.to_owned(), source })?;
    check_pair(&chain, &parsed).map_err(|source| Error::Pair { cert: cert.to_owned(), key: key.to_owned(), source })?;
    Ok(Identity::from_pem(certificate_pem, without_mark(&key_pem, key)?))
}

fn without_mark<'a>(pem: &'a [u8], path: &Path) -> Result<&'a [u8], Error> {
    text_file::without_mark(pem).map_err(|error| Error::File { path: path.to_owned(), source: error.into() })
}
