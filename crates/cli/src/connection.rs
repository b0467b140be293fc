//! Which authority, and as whom: flags, then the environment, then the profile file.

#![expect(clippy::doc_markdown, reason = "the comments of the flags are the text of --help")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::errors::Error;
use crate::private_file;
use crate::profile::{self, Profile};

/// Where an authority listens that was started without settings, on this machine.
const USUAL_ENDPOINT: &str = "http://127.0.0.1:50051";
/// A token by environment. There is no flag for one: the arguments of a process are no secret on most machines.
const TOKEN_VARIABLE: &str = "KEYCTL_TOKEN";
/// How long a connection may take to be made.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// The flags that say which authority to call, and as whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Connection {
    /// Where the authority listens: http://HOST:PORT for plain text, https://HOST:PORT for TLS [default:
    /// http://127.0.0.1:50051]
    #[arg(long, global = true, env = "KEYCTL_ENDPOINT", value_name = "URL")]
    endpoint: Option<String>,
    /// File with the caller's token, which only its owner can read. Goes before the variable KEYCTL_TOKEN, which holds a token
    /// itself
    #[arg(long, global = true, env = "KEYCTL_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates in PEM to trust in place of the system's
    #[arg(long, global = true, env = "KEYCTL_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Certificate in PEM to show to an authority that asks for one
    #[arg(long, global = true, env = "KEYCTL_CLIENT_CERT", value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// Its private key in PEM, which only its owner can read
    #[arg(long, global = true, env = "KEYCTL_CLIENT_KEY", value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// Profile of the profile file to use
    #[arg(long, global = true, env = "KEYCTL_PROFILE", value_name = "NAME")]
    profile: Option<String>,
    /// Profile file [default: keyctl/config.toml in $XDG_CONFIG_HOME or ~/.config]
    #[arg(long, global = true, env = "KEYCTL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long to wait for an answer, and to ask again where there is none
    #[arg(long, global = true, env = "KEYCTL_TIMEOUT", value_name = "LENGTH", default_value = "30s",
          value_parser = crate::fields::timeout)]
    timeout: Duration,
}

/// An authority, and a caller of it.
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) authorization: Option<MetadataValue<Ascii>>,
    pub(crate) timeout: Duration,
}

impl Connection {
    /// Reads the files that are named.
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
        let token = token.trim();
        if token.is_empty() {
            return Err(Error::NoToken { place });
        }
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().map_err(|_| Error::NoToken { place })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn endpoint(self, profile: Profile) -> Result<Endpoint, Error> {
        let text = self.endpoint.or(profile.endpoint).unwrap_or_else(|| USUAL_ENDPOINT.to_owned());
        let is_tls = text.starts_with("https://");
        if !is_tls && !text.starts_with("http://") {
            return Err(Error::Scheme(text));
        }
        let endpoint = Endpoint::from_shared(text.clone())
            .map_err(|error| Error::Endpoint { endpoint: text.clone(), source: error.into() })?
            .connect_timeout(CONNECT_TIME)
            .tcp_nodelay(true);
        let ca_file = self.ca_file.or(profile.ca_file);
        let identity = match (self.client_cert.or(profile.client_cert), self.client_key.or(profile.client_key)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(Error::HalfAnIdentity),
        };
        if !is_tls {
            return match (ca_file, identity) {
                (None, None) => Ok(endpoint),
                _ => Err(Error::TlsFilesWithoutTls(text)),
            };
        }
        let mut tls = ClientTlsConfig::new();
        tls = match ca_file {
            Some(file) => tls.ca_certificate(Certificate::from_pem(open(&file)?)),
            None => tls.with_native_roots(),
        };
        if let Some((cert, key)) = identity {
            tls = tls.identity(Identity::from_pem(open(&cert)?, private_file::read(&key)?));
        }
        endpoint.tls_config(tls).map_err(|error| Error::Endpoint { endpoint: text, source: error.into() })
    }
}

fn open(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}
