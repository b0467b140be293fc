//! Configuration: what the operator has said, judged as a whole.
//!
//! Owns the names, the units, the defaults and the rules. [`args`] is the raw text, as flags or environment variables gave it;
//! [`Config::from_args`] turns it into values that need no second look, or into all the errors at once. Nothing else in the
//! server reads an environment variable (but the `OTEL_*` ones, which belong to OpenTelemetry). It must never let the value of a
//! database URL out: not in an error, not in `Debug`, not in `--help`.
//!
//! To add a setting: a field in [`args::Settings`] with its unit and default in the help, a field here, its rule in
//! [`Config::from_args`]. The environment twin follows from the flag's name.

pub(crate) mod args;
mod database_url;
mod environment;
mod error;
mod reader;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use args::Cli;
pub(crate) use args::{AuditCommand, Command, HealthcheckArgs, Settings};
pub(crate) use database_url::{DatabaseKind, DatabaseUrl};
pub(crate) use error::twin;
pub(crate) use error::{ConfigError, ConfigErrors};
use reader::Reader;
pub(crate) use reader::parse_duration;

use crate::observability::telemetry::{LogConfig, LogFormat};
use crate::transport::limits::Limits;
use crate::transport::tls::TlsFiles;

/// The data folder when none is named.
pub(crate) const DATA_DIR: &str = "./data";
/// The name of the embedded database's file in the data folder.
pub const EMBEDDED_FILE: &str = "key-authority.db";
/// The name of the authority secret that is made in the data folder.
pub const SECRET_FILE: &str = "authority.secret";
/// The whole of an exit, a little under the 10 s that are promised.
pub(crate) const EXIT_LIMIT: Duration = Duration::from_millis(9_800);
/// How much of [`EXIT_LIMIT`] `--shutdown-delay` and `--drain-timeout` may take together; the rest is for leaving the registry
/// and for flushing.
const DELAY_AND_DRAIN_LIMIT: Duration = Duration::from_secs(8);
/// How much longer than the lease a call may have to take, the change itself included.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// What the configuration is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigMode {
    /// To serve, or to make the root key: the authority secret is needed.
    Serve,
    /// To look after the database: the secret is not needed.
    Maintain,
}

/// Where the facts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseConfig {
    /// Its URL, ready for sea-orm.
    pub url: DatabaseUrl,
    /// The file that the URL was read from.
    pub url_file: Option<PathBuf>,
    /// True for the `SQLite` file in the data folder, which nobody has asked for by URL: then the secret and the root token are
    /// made in the data folder as well.
    pub embedded: bool,
    /// Where PostgreSQL tells of changes; `None` for other databases.
    pub notify_url: Option<DatabaseUrl>,
    /// Connections in the pool.
    pub connections: u32,
    /// True when the server brings the schema up to date at start.
    pub migrate: bool,
}

/// Everything the operator can set, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The data folder. It may not exist yet.
    pub data_dir: PathBuf,
    /// True when a data folder was named that nothing is kept in, since the database is elsewhere.
    pub is_data_dir_idle: bool,
    /// Where the facts are.
    pub database: DatabaseConfig,
    /// The gRPC listener.
    pub listen: SocketAddr,
    /// The second gRPC listener, for Verify and its kin only.
    pub verify_listen: Option<SocketAddr>,
    /// The HTTP listener: metrics and probes.
    pub http_listen: SocketAddr,
    /// The file of the authority secret; `None` only for [`ConfigMode::Maintain`].
    pub secret_file: Option<PathBuf>,
    /// The file with the root token to be bootstrapped.
    pub bootstrap_token_file: Option<PathBuf>,
    /// The lease to set; `None` keeps what the database says.
    pub lease: Option<Duration>,
    /// True when Verify asks for no caller.
    pub anonymous_verify: bool,
    /// TLS; `None` is plaintext.
    pub tls: Option<TlsFiles>,
    /// What each gRPC listener allows.
    pub limits: Limits,
    /// Deadline of unary calls that name none, and the most a client may ask for.
    pub request_timeout: Duration,
    /// From "not serving" to the first GOAWAY.
    pub shutdown_delay: Duration,
    /// How long calls in flight may take after the GOAWAY.
    pub drain_timeout: Duration,
    /// How the server logs.
    pub log: LogConfig,
}

impl Config {
    /// Judges the settings, and the names of the environment's variables, as a whole.
    ///
    /// It reads the file of `--database-url-file` and no other.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn from_args(
        settings: &Settings,
        purpose: ConfigMode,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let mut read = Reader::default();
        read.errors.extend(environment::unknown(environment));

        let data_dir = read.path("data-dir", settings.data_dir.as_deref()).unwrap_or_else(|| DATA_DIR.into());
        let database = database(&mut read, settings, &data_dir);
        let secret_file = read.path("secret-file", settings.secret_file.as_deref());
        let secret_file = match (&database, secret_file) {
            (Some(database), None) if database.embedded => Some(data_dir.join(SECRET_FILE)),
            (Some(_), None) if purpose == ConfigMode::Serve => {
                read.fail(
                    "secret-file",
                    None,
                    "is needed with a database of your own: every replica must have the same secret",
                );
                None
            }
            (_, given) => given,
        };
        let limits = limits(&mut read, settings);
        let (shutdown_delay, drain_timeout) = shutdown(&mut read, settings);
        let (listen, verify_listen, http_listen) = listeners(&mut read, settings);
        let config = Self {
            is_data_dir_idle: settings.data_dir.is_some()
                && database.as_ref().is_some_and(|database| !database.embedded),
            data_dir,
            listen,
            verify_listen,
            http_listen,
            secret_file,
            bootstrap_token_file: read.path("bootstrap-token-file", settings.bootstrap_token_file.as_deref()),
            lease: settings
                .lease
                .as_deref()
                .map(|text| read.duration("lease", text, Duration::from_secs(5)..=Duration::from_mins(1))),
            anonymous_verify: read.boolean("anonymous-verify", &settings.anonymous_verify),
            tls: tls(&mut read, settings),
            limits,
            request_timeout: read.duration(
                "request-timeout",
                &settings.request_timeout,
                Duration::from_millis(100)..=Duration::from_mins(10),
            ),
            shutdown_delay,
            drain_timeout,
            log: log(&mut read, settings),
            database: match database {
                Some(database) => database,
                None => return Err(ConfigErrors(read.errors)),
            },
        };
        if read.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(read.errors)) }
    }

    /// Where the root token of the embedded default is written.
    #[must_use]
    pub fn root_token_file(&self) -> PathBuf {
        self.data_dir.join("root.token")
    }

    /// The files with a secret in them, which may not exist.
    #[must_use]
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let named = [&self.database.url_file, &self.secret_file, &self.bootstrap_token_file];
        let root_token = self.database.embedded.then(|| self.root_token_file());
        let tls_key = self.tls.as_ref().map(|files| files.key.clone());
        named.into_iter().cloned().chain([root_token, tls_key]).flatten().collect()
    }

    /// What is allowed but should be known, for the log at start.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        let is_open = |address: &SocketAddr| !address.ip().is_loopback();
        let reachable = is_open(&self.listen) || self.verify_listen.as_ref().is_some_and(is_open);
        let mut warnings = Vec::new();
        if reachable && self.tls.is_none() {
            warnings.push("gRPC listens beyond this machine without TLS: tokens cross the network in the clear");
        }
        if reachable && self.anonymous_verify {
            warnings.push("Verify is open to whoever can reach it: the network has to keep strangers out");
        }
        if self.is_data_dir_idle {
            warnings
                .push("--data-dir (KEY_AUTHORITY_DATA_DIR) is of no use beside a database URL: nothing is kept there");
        }
        if self.lease.is_some_and(|lease| lease + LEASE_MARGIN > self.request_timeout) {
            warnings.push(
                "--request-timeout is not 5s longer than --lease: a change that has to wait for a silent replica returns \
                 PROPAGATION_PENDING in place of OK",
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
        (Some(url), None) => ("database-url", url.to_owned()),
        (None, Some(path)) => match std::fs::read_to_string(path) {
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
            // Without the value: it may hold a password.
            read.fail(flag, None, rule);
            None
        }
    }
}

/// Where PostgreSQL tells of changes: at its own URL, unless a pooler stands before it.
fn notify_url(read: &mut Reader, settings: &Settings, database: &DatabaseUrl) -> Option<DatabaseUrl> {
    let is_postgres = database.kind() == DatabaseKind::Postgres;
    let Some(text) = settings.notify_url.as_deref() else { return is_postgres.then(|| database.clone()) };
    if !is_postgres {
        read.fail("notify-url", None, "is for PostgreSQL only; leave it out with other databases");
    }
    match DatabaseUrl::parse(text.trim()) {
        Ok(url) if url.kind() == DatabaseKind::Postgres => Some(url),
        Ok(_) => {
            read.fail("notify-url", None, "must begin with postgres://");
            None
        }
        Err(rule) => {
            read.fail("notify-url", None, rule);
            None
        }
    }
}

fn listeners(read: &mut Reader, settings: &Settings) -> (SocketAddr, Option<SocketAddr>, SocketAddr) {
    let listen = read.address("listen", &settings.listen, 50051);
    let verify = settings.verify_listen.as_deref().map(|text| (text, read.address("verify-listen", text, 50052)));
    let http = read.address("http-listen", &settings.http_listen, 9464);
    // Port 0 is whatever is free.
    let clash = |a: SocketAddr, b: SocketAddr| {
        let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
        a.port() == b.port() && a.port() != 0 && same_host
    };
    if clash(listen, http) {
        read.fail("http-listen", Some(&settings.http_listen), "must differ from --listen");
    }
    if let Some((text, verify)) = verify {
        if clash(listen, verify) {
            read.fail("verify-listen", Some(text), "must differ from --listen");
        }
        if clash(http, verify) {
            read.fail("verify-listen", Some(text), "must differ from --http-listen");
        }
    }
    (listen, verify.map(|(_, address)| address), http)
}

fn limits(read: &mut Reader, settings: &Settings) -> Limits {
    let (second, minute, hour) = (Duration::from_secs(1), Duration::from_mins(1), Duration::from_hours(1));
    Limits {
        max_connections: read.count("max-connections", &settings.max_connections, 1..=1_000_000),
        preface_timeout: read.duration("preface-timeout", &settings.preface_timeout, second / 10..=minute),
        max_connection_age: read.duration("max-connection-age", &settings.max_connection_age, second..=hour * 24),
        max_streams_per_connection: read.count(
            "max-streams-per-connection",
            &settings.max_streams_per_connection,
            1..=100_000,
        ),
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
            "together with --shutdown-delay must leave 2s of the 10s that an exit may take: at most 8s",
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
            "must be a level (off, error, warn, info, debug or trace), or modules with a level each and no space, such as \
             info,key_authority_server=debug",
        );
    }
    LogConfig { format, directives: settings.log.clone() }
}

#[cfg(test)]
mod tests;
