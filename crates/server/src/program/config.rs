//! The configuration: the operator's settings, validated as a whole.
//!
//! This module owns the names, the units, the defaults and the rules. [`args`] has the raw text from flags and
//! environment variables. [`Config::from_args`] turns it into valid values, or into all errors at once. Nothing else in
//! the server reads an environment variable, except for OpenTelemetry, whose libraries read the `OTEL_*` variables that
//! are valid. The value of a database URL must never appear in an error, in `Debug` or in `--help`.
//!
//! To add a setting, add a field in [`args::Settings`] with its unit and default in the help, a field in [`Config`],
//! and its rule in [`Config::from_args`]. The name of the environment variable follows from the flag.

pub(crate) mod args;
mod database_url;
mod environment;
mod error;
mod limits;
mod listeners;
mod reader;
mod url_parameters;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use args::Cli;
pub(crate) use args::{AuditCommand, BackupArgs, Command, HealthcheckArgs, RestoreArgs, Settings};
pub(crate) use database_url::DatabaseUrl;
pub(crate) use error::twin;
pub(crate) use error::{ConfigError, ConfigErrors, is_url};
use limits::{HELD_MIB_MIN, limits};
use listeners::ListenAddresses;
pub(crate) use reader::parse_duration;
use reader::{BLANK, Reader};
pub(crate) use url_parameters::DatabaseKind;

use key_authority_domain::access::Network;
use zeroize::Zeroizing;

use crate::observability::telemetry::{LogConfig, LogFormat, TraceConfig, trace_config};
use crate::text_file;
use crate::transport::limits::Limits;
use crate::transport::tls::TlsFiles;

/// The default data folder.
pub(crate) const DATA_DIR: &str = "./data";
/// The name of the embedded database's file in the data folder.
pub const EMBEDDED_FILE: &str = "key-authority.db";
/// The name of the generated authority secret in the data folder.
pub const SECRET_FILE: &str = "authority.secret";
/// The time limit of a shutdown, slightly below the promised 10 s.
pub(crate) const EXIT_LIMIT: Duration = Duration::from_millis(9_800);
/// The part of [`EXIT_LIMIT`] that `--shutdown-delay` and `--drain-timeout` may take together; the rest is for leaving
/// the registry and for the flush.
const DELAY_AND_DRAIN_LIMIT: Duration = Duration::from_secs(8);
/// The time that a call may need beyond the lease, including the change itself.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// The purpose of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigMode {
    /// To serve, to make a root key, or to check or restore the audit log: the authority secret is required.
    Serve,
    /// To maintain the database: the secret is not required.
    Maintain,
}

/// The configuration of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseConfig {
    /// The URL, in the form that sea-orm takes.
    pub url: DatabaseUrl,
    /// The file from which the URL was read.
    pub url_file: Option<PathBuf>,
    /// Whether this is the default `SQLite` file in the data folder, without a configured URL. Then the secret and the
    /// root token are made in the data folder as well.
    pub embedded: bool,
    /// The URL at which PostgreSQL sends notifications of changes; `None` for other databases.
    pub notify_url: Option<DatabaseUrl>,
    /// The number of connections in the pool.
    pub connections: u32,
    /// Whether the server migrates the schema at startup.
    pub migrate: bool,
}

/// The validated configuration of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The data folder. It may not exist yet.
    pub data_dir: PathBuf,
    /// Whether a data folder is configured but unused, because the database is elsewhere.
    pub is_data_dir_unused: bool,
    /// The database.
    pub database: DatabaseConfig,
    /// The gRPC listener.
    pub listen: SocketAddr,
    /// The second gRPC listener, which serves only Verify and related methods.
    pub verify_listen: Option<SocketAddr>,
    /// The HTTP listener: metrics and probes.
    pub http_listen: SocketAddr,
    /// The HTTP door; `None` if it is off.
    pub api_listen: Option<SocketAddr>,
    /// Whether the HTTP door has the console.
    pub console: bool,
    /// The address at which browsers reach the console, without a path.
    pub public_url: Option<String>,
    /// The networks of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// The file of the authority secret; `None` only for [`ConfigMode::Maintain`].
    pub secret_file: Option<PathBuf>,
    /// The file with the token of the first root key.
    pub bootstrap_token_file: Option<PathBuf>,
    /// The lease to set; `None` keeps the lease in the database.
    pub lease: Option<Duration>,
    /// Whether Verify accepts calls without a token.
    pub anonymous_verify: bool,
    /// TLS; `None` for plaintext.
    pub tls: Option<TlsFiles>,
    /// The limits of each listener of calls.
    pub limits: Limits,
    /// The limit of memory that is held for peers, in bytes.
    pub held_bytes_max: usize,
    /// The deadline of unary calls without one, and the maximum deadline of the others.
    pub request_timeout: Duration,
    /// The time between `NOT_SERVING` and the first GOAWAY.
    pub shutdown_delay: Duration,
    /// The time that calls in flight have after the GOAWAY.
    pub drain_timeout: Duration,
    /// The logging configuration.
    pub log: LogConfig,
    /// The configuration of traces; `None` if they are not exported.
    pub traces: Option<TraceConfig>,
}

impl Config {
    /// Validates the settings, and the names of the environment variables, as a whole.
    ///
    /// It reads the file of `--database-url-file` and no other file.
    ///
    /// # Errors
    /// Every error, not only the first one.
    pub fn from_args(
        settings: &Settings,
        mode: ConfigMode,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let mut read = Reader::default();
        let environment: BTreeMap<_, _> = environment.into_iter().collect();
        read.errors.extend(environment::unknown(&environment));

        let data_dir = read.path("data-dir", settings.data_dir.as_deref()).unwrap_or_else(|| DATA_DIR.into());
        let database = database(&mut read, settings, &data_dir);
        let secret_file = read.path("secret-file", settings.secret_file.as_deref());
        let secret_file = match (&database, secret_file) {
            (Some(database), None) if database.embedded => Some(data_dir.join(SECRET_FILE)),
            (Some(_), None) if mode == ConfigMode::Serve => {
                read.fail(
                    "secret-file",
                    None,
                    "is required with a database URL: every replica must have the same secret",
                );
                None
            }
            (_, given) => given,
        };
        let request_timeout = read.duration(
            "request-timeout",
            &settings.request_timeout,
            Duration::from_millis(100)..=Duration::from_mins(10),
        );
        let limits = limits(&mut read, settings, request_timeout);
        let (shutdown_delay, drain_timeout) = shutdown(&mut read, settings);
        let ListenAddresses { listen, verify_listen, http_listen, api_listen } =
            ListenAddresses::read(&mut read, settings);
        let config = Self {
            is_data_dir_unused: settings.data_dir.is_some()
                && database.as_ref().is_some_and(|database| !database.embedded),
            data_dir,
            listen,
            verify_listen,
            http_listen,
            api_listen,
            console: !read.boolean("no-console", &settings.no_console),
            public_url: read.origin("public-url", settings.public_url.as_deref()),
            trusted_proxies: read.networks("trusted-proxies", &settings.trusted_proxies),
            secret_file,
            bootstrap_token_file: read.path("bootstrap-token-file", settings.bootstrap_token_file.as_deref()),
            lease: settings
                .lease
                .as_deref()
                .map(|text| read.duration("lease", text, Duration::from_secs(5)..=Duration::from_mins(1))),
            anonymous_verify: read.boolean("anonymous-verify", &settings.anonymous_verify),
            tls: tls(&mut read, settings),
            limits,
            request_timeout,
            held_bytes_max: read.count("max-held-mib", &settings.max_held_mib, HELD_MIB_MIN..=65_536) * 1024 * 1024,
            shutdown_delay,
            drain_timeout,
            log: log(&mut read, settings),
            traces: traces(&mut read, &environment),
            database: match database {
                Some(database) => database,
                None => return Err(ConfigErrors(read.errors)),
            },
        };
        if read.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(read.errors)) }
    }

    /// Returns the file to which the root token of the embedded default is written.
    #[must_use]
    pub fn root_token_file(&self) -> PathBuf {
        self.data_dir.join("root.token")
    }

    /// Returns the files that contain a secret. They may not exist.
    #[must_use]
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let named = [&self.database.url_file, &self.secret_file, &self.bootstrap_token_file];
        let root_token = self.database.embedded.then(|| self.root_token_file());
        let tls_key = self.tls.as_ref().map(|files| files.key.clone());
        named.into_iter().cloned().chain([root_token, tls_key]).flatten().collect()
    }

    /// Returns warnings about valid but risky settings, for the log at startup.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        let is_open = |address: &SocketAddr| !address.ip().is_loopback();
        let others = [&self.verify_listen, &self.api_listen];
        let reachable = is_open(&self.listen) || others.into_iter().flatten().any(is_open);
        let mut warnings = Vec::new();
        if reachable && self.tls.is_none() {
            warnings.push("a listener has a non-loopback address without TLS; tokens cross the network in clear text");
        }
        if reachable && self.anonymous_verify {
            warnings.push("Verify is open to every client that can reach it; restrict access on the network");
        }
        if self.database.url.is_remote_and_unverified() {
            warnings.push(
                "the database is on another host and its certificate is not verified; set sslmode=verify-full \
                 (PostgreSQL) or ssl-mode=VERIFY_IDENTITY (MySQL, MariaDB) in the URL",
            );
        }
        if self.is_data_dir_unused {
            warnings
                .push("--data-dir (KEY_AUTHORITY_DATA_DIR) has no effect with a database URL; the folder is not used");
        }
        if self.lease.is_some_and(|lease| lease + LEASE_MARGIN > self.request_timeout) {
            warnings.push(
                "--request-timeout is not 5s longer than --lease; a change that waits for a silent replica returns \
                 PROPAGATION_PENDING instead of OK",
            );
        }
        warnings
    }
}

fn database(read: &mut Reader, settings: &Settings, data_dir: &Path) -> Option<DatabaseConfig> {
    let connections = read.count("database-connections", &settings.database_connections, 1..=200);
    let migrate = !read.boolean("no-migrate", &settings.no_migrate);
    let (flag, text) = match (settings.database_url.as_deref(), settings.database_url_file.as_deref()) {
        (Some(_), Some(_)) => {
            read.fail("database-url", None, "cannot be set together with --database-url-file");
            return None;
        }
        (Some(url), None) if url.trim().is_empty() => {
            read.fail("database-url", Some(url), BLANK);
            return None;
        }
        (None, Some(path)) if path.trim().is_empty() => {
            read.fail("database-url-file", Some(path), BLANK);
            return None;
        }
        (Some(url), None) => ("database-url", Zeroizing::new(url.to_owned())),
        // The value is left out: a URL that was set in place of its file may contain a password.
        (None, Some(path)) if path.contains("://") => {
            read.fail("database-url-file", None, "must be a file that contains the URL; set the URL by --database-url");
            return None;
        }
        (None, Some(path)) => match text_file::read(Path::new(path)) {
            Ok(text) => ("database-url-file", text),
            Err(error) => {
                read.fail("database-url-file", Some(path), &format!("cannot be read: {error}"));
                return None;
            }
        },
        (None, None) => {
            let url = DatabaseUrl::of_file(&data_dir.join(EMBEDDED_FILE));
            let notify_url = notify_url(read, settings, &url);
            return Some(DatabaseConfig { url, url_file: None, embedded: true, notify_url, connections, migrate });
        }
    };
    match DatabaseUrl::parse(text.trim()) {
        Ok(url) => {
            let notify_url = notify_url(read, settings, &url);
            let url_file = settings.database_url_file.as_deref().map(PathBuf::from);
            Some(DatabaseConfig { url, url_file, embedded: false, notify_url, connections, migrate })
        }
        Err(rule) => {
            // The value is left out: it may contain a password.
            read.fail(flag, None, &rule);
            None
        }
    }
}

/// Returns the URL at which PostgreSQL sends notifications: the database's own URL, unless the database is behind a
/// pooler.
fn notify_url(read: &mut Reader, settings: &Settings, database: &DatabaseUrl) -> Option<DatabaseUrl> {
    let is_postgres = database.kind() == DatabaseKind::Postgres;
    let Some(text) = settings.notify_url.as_deref() else { return is_postgres.then(|| database.clone()) };
    if !is_postgres {
        read.fail("notify-url", None, "is for PostgreSQL only; omit it with other databases");
    }
    match DatabaseUrl::parse(text.trim()) {
        Ok(url) if url.kind() == DatabaseKind::Postgres => Some(url),
        Ok(_) => {
            read.fail("notify-url", None, "must begin with postgres://");
            None
        }
        Err(rule) => {
            read.fail("notify-url", None, &rule);
            None
        }
    }
}

fn shutdown(read: &mut Reader, settings: &Settings) -> (Duration, Duration) {
    let range = || Duration::ZERO..=DELAY_AND_DRAIN_LIMIT;
    let delay = read.duration("shutdown-delay", &settings.shutdown_delay, range());
    let drain = read.duration("drain-timeout", &settings.drain_timeout, range());
    if delay.max(drain) <= DELAY_AND_DRAIN_LIMIT && delay + drain > DELAY_AND_DRAIN_LIMIT {
        read.fail(
            "drain-timeout",
            Some(&settings.drain_timeout),
            "must leave, together with --shutdown-delay, 2s of the 10s that a shutdown may take: at most 8s in total",
        );
    }
    (delay, drain)
}

fn tls(read: &mut Reader, settings: &Settings) -> Option<TlsFiles> {
    let cert = read.path("tls-cert", settings.tls_cert.as_deref());
    let key = read.path("tls-key", settings.tls_key.as_deref());
    let client_ca = read.path("client-ca", settings.client_ca.as_deref());
    match (cert, key) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key, client_ca }),
        (None, None) => {
            if let Some(path) = settings.client_ca.as_deref() {
                read.fail("client-ca", Some(path), "needs --tls-cert and --tls-key");
            }
            None
        }
        (Some(_), None) => {
            read.fail("tls-cert", settings.tls_cert.as_deref(), "needs --tls-key");
            None
        }
        (None, Some(_)) => {
            read.fail("tls-key", settings.tls_key.as_deref(), "needs --tls-cert");
            None
        }
    }
}

fn log(read: &mut Reader, settings: &Settings) -> LogConfig {
    let format = match settings.log_format.as_str() {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => {
            read.fail("log-format", Some(other), "must be text or json");
            LogFormat::Text
        }
    };
    if !crate::observability::telemetry::are_directives(&settings.log) {
        read.fail(
            "log",
            Some(&settings.log),
            "must be a level (off, error, warn, info, debug or trace), or modules with a level each and no space, such \
             as info,key_authority_server=debug",
        );
    }
    LogConfig { format, directives: settings.log.clone() }
}

fn traces(read: &mut Reader, environment: &BTreeMap<String, String>) -> Option<TraceConfig> {
    trace_config(environment).unwrap_or_else(|errors| {
        read.errors.extend(errors.into_iter().map(|why| ConfigError::Unusable { why }));
        None
    })
}

#[cfg(test)]
mod tests;
