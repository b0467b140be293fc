//! The command line as clap parses it: text that is not validated yet.
//!
//! Every flag has an environment variable: `KEY_AUTHORITY_` and the flag in capitals. clap rejects unknown flags;
//! [`super::Config::from_args`] rejects unknown variables.

#![expect(clippy::doc_markdown, reason = "the comments of the settings are the text of --help")]

use std::path::PathBuf;

use clap::builder::Resettable;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// Issues API keys and verifies, for every call, whether a token permits it.
///
/// Without a subcommand it serves: `key-authority` is `key-authority serve`.
#[derive(Debug, Parser)]
#[command(name = "key-authority", version = crate::version::VERSION, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// The subcommand; `None` means `serve` with these settings.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings of `serve` without a subcommand.
    #[command(flatten)]
    pub settings: Box<Settings>,
}

impl Cli {
    /// Parses the arguments and variables of the process.
    ///
    /// # Errors
    /// If they cannot be parsed, or ask for help.
    pub fn of_process() -> Result<Self, clap::Error> {
        let command = without_blank_variables(Self::command());
        let format = |error: clap::Error| error.format(&mut Self::command());
        command.try_get_matches().and_then(|matches| Self::from_arg_matches(&matches).map_err(format))
    }

    /// Returns the command to run.
    #[must_use]
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.settings))
    }
}

/// The settings whose variable must not be blank. Their defaults are weaker than what the operator meant: a new
/// authority, a new secret, no TLS, no certificates of clients.
const NEVER_BLANK: [&str; 8] = [
    "data_dir",
    "database_url",
    "database_url_file",
    "secret_file",
    "bootstrap_token_file",
    "tls_cert",
    "tls_key",
    "client_ca",
];

/// Ignores variables that are set but blank, as in `VARIABLE=` of a container's environment: they count as unset, except
/// for [`NEVER_BLANK`]. An empty address of the HTTP door has a meaning: it switches the door off.
fn without_blank_variables(command: clap::Command) -> clap::Command {
    let is_blank = |argument: &clap::Arg| {
        let value = argument.get_env().and_then(std::env::var_os);
        let is_off = argument.get_id() == "api_listen" && value.as_ref().is_some_and(|value| value.is_empty());
        let is_kept = is_off || NEVER_BLANK.contains(&argument.get_id().as_str());
        !is_kept && value.is_some_and(|value| value.as_encoded_bytes().trim_ascii().is_empty())
    };
    command
        .mut_args(|argument| if is_blank(&argument) { argument.env(Resettable::Reset) } else { argument })
        .mut_subcommands(without_blank_variables)
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serves gRPC, metrics and probes until it receives SIGTERM or SIGINT
    Serve(Box<Settings>),
    /// Migrates the schema of the database to the current version, and exits
    Migrate(Box<Settings>),
    /// Creates another root key beside the existing ones, prints its token, and exits
    Bootstrap(Box<Settings>),
    /// Copies the SQLite database to a new file, also while the server runs, checks the copy, and exits
    Backup(Box<BackupArgs>),
    /// Replaces the SQLite database by a backup while no server runs, keeps the replaced file, and exits
    Restore(Box<RestoreArgs>),
    /// Lists all errors in the settings and in the files that they name, and exits; does not connect to the database
    CheckConfig(Box<Settings>),
    /// Checks whether a running server on this machine is ready; exit code 0 or 1, for container images
    Healthcheck(HealthcheckArgs),
    /// Works on the audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Prints a fresh root token for --bootstrap-token-file
    GenerateToken,
    /// Prints a fresh authority secret for --secret-file: 64 hexadecimal characters
    GenerateSecret,
}

/// The subcommands of `audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Recomputes the hash chain of the audit log, and checks that no caller changed anything after its key had ended:
    /// exit code 0 when no event was altered, inserted or dropped, 2 when one was, 3 when the only faults are changes
    /// by callers whose keys had ended
    Verify(Box<VerifyArgs>),
}

/// The arguments of `audit verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// Head of the log as an earlier `audit verify` printed it; without it, a later truncation of the log cannot be
    /// detected
    #[arg(long, value_name = "REVISION:HASH")]
    pub kept_head: Option<String>,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// The arguments of `backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// File of the backup, which must not exist
    #[arg(value_name = "FILE")]
    pub to: PathBuf,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// The arguments of `restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// File of the backup
    #[arg(value_name = "FILE")]
    pub from: PathBuf,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// The arguments of `healthcheck`.
#[derive(Debug, Clone, Args)]
pub struct HealthcheckArgs {
    /// HTTP address of the server; a wildcard address means this machine
    #[arg(long, env = "KEY_AUTHORITY_HTTP_LISTEN", default_value = "127.0.0.1:9464", value_name = "ADDRESS")]
    pub http_listen: String,
    /// How long to wait for the response, such as 500ms or 2s
    #[arg(long, default_value = "2s", value_name = "DURATION")]
    pub timeout: String,
}

/// The settings as text. Durations are written 500ms, 10s, 5m, 1h.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Folder of the embedded database, the generated authority secret and the root token; has no effect with
    /// --database-url [default: ./data]
    #[arg(long, env = "KEY_AUTHORITY_DATA_DIR", value_name = "PATH")]
    pub data_dir: Option<String>,
    /// Database: postgres://…, mysql://… or sqlite://… [default: an SQLite file in the data folder]
    #[arg(long, env = "KEY_AUTHORITY_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<RedactedText>,
    /// File that contains the database URL, instead of --database-url
    #[arg(long, env = "KEY_AUTHORITY_DATABASE_URL_FILE", value_name = "PATH")]
    pub database_url_file: Option<String>,
    /// PostgreSQL only: a URL that reaches the database without a pooler, for notifications of changes (LISTEN);
    /// without it the server polls for changes every few milliseconds [default: --database-url]
    #[arg(long, env = "KEY_AUTHORITY_NOTIFY_URL", value_name = "URL", hide_env_values = true)]
    pub notify_url: Option<RedactedText>,
    /// Connections to the database for reads by admin calls, 1 to 200; the server opens up to 7 more for other work
    #[arg(long, env = "KEY_AUTHORITY_DATABASE_CONNECTIONS", default_value = "10", value_name = "COUNT")]
    pub database_connections: String,
    /// Do not migrate the schema; refuse to start when it is not up to date
    #[arg(
        long, env = "KEY_AUTHORITY_NO_MIGRATE", default_value = "false", value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub no_migrate: String,
    /// Address of the gRPC listener
    #[arg(long, env = "KEY_AUTHORITY_LISTEN", default_value = "127.0.0.1:50051", value_name = "ADDRESS")]
    pub listen: String,
    /// Address of a second gRPC listener that serves only Verify, BatchVerify, VerifyStream, Envoy's Check and health
    /// [default: none]
    #[arg(long, env = "KEY_AUTHORITY_VERIFY_LISTEN", value_name = "ADDRESS")]
    pub verify_listen: Option<String>,
    /// Address of the HTTP listener: /metrics, /livez, /readyz; plain HTTP even with TLS
    #[arg(long, env = "KEY_AUTHORITY_HTTP_LISTEN", default_value = "127.0.0.1:9464", value_name = "ADDRESS")]
    pub http_listen: String,
    /// Address of the HTTP door: the API as JSON, token introspection, forward-auth and the console; empty: off
    #[arg(long, env = "KEY_AUTHORITY_API_LISTEN", default_value = "127.0.0.1:8051", value_name = "ADDRESS")]
    pub api_listen: String,
    /// Leave out the console, the pages for people under /console/ of the HTTP door
    #[arg(
        long, env = "KEY_AUTHORITY_NO_CONSOLE", default_value = "false", value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub no_console: String,
    /// Address at which browsers reach the console, such as https://keys.example.com; the links to portal sessions
    /// begin with it [default: the address that the start prints]
    #[arg(long, env = "KEY_AUTHORITY_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// Networks of the proxies whose X-Forwarded-For is believed at /forward-auth and by the console, as
    /// 10.0.0.0/8,fd00::/8 [default: none]
    #[arg(
        long,
        env = "KEY_AUTHORITY_TRUSTED_PROXIES",
        default_value = "",
        hide_default_value = true,
        value_name = "NETWORKS"
    )]
    pub trusted_proxies: String,
    /// File of the authority secret; required with --database-url [default: created in the data folder with the
    /// embedded database]
    #[arg(long, env = "KEY_AUTHORITY_SECRET_FILE", value_name = "PATH")]
    pub secret_file: Option<String>,
    /// File with the token of the first root key, which an empty authority creates; the same for all replicas
    #[arg(long, env = "KEY_AUTHORITY_BOOTSTRAP_TOKEN_FILE", value_name = "PATH")]
    pub bootstrap_token_file: Option<String>,
    /// How long a replica may answer from memory after its last heartbeat reached the database, 5s to 1m [default: the
    /// lease in the database, initially 10s]
    #[arg(long, env = "KEY_AUTHORITY_LEASE", value_name = "DURATION")]
    pub lease: Option<String>,
    /// Answer Verify without authenticating the caller, for meshes that authenticate already
    #[arg(
        long, env = "KEY_AUTHORITY_ANONYMOUS_VERIFY", default_value = "false", value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub anonymous_verify: String,
    /// File of the certificate chain in PEM, read again when it changes; needs --tls-key [default: no TLS]
    #[arg(long, env = "KEY_AUTHORITY_TLS_CERT", value_name = "PATH")]
    pub tls_cert: Option<String>,
    /// File of the certificate's private key in PEM; needs --tls-cert
    #[arg(long, env = "KEY_AUTHORITY_TLS_KEY", value_name = "PATH")]
    pub tls_key: Option<String>,
    /// File of the CA certificates in PEM that sign client certificates, which are then required [default: none]
    #[arg(long, env = "KEY_AUTHORITY_CLIENT_CA", value_name = "PATH")]
    pub client_ca: Option<String>,
    /// Maximum number of connections to one listener of --listen, --verify-listen or --api-listen; the oldest without
    /// a call that had a valid token makes room for a new one
    #[arg(long, env = "KEY_AUTHORITY_MAX_CONNECTIONS", default_value = "10000", value_name = "COUNT")]
    pub max_connections: String,
    /// Maximum number of connections from one address (IPv6: from one /64 network) to one listener
    #[arg(long, env = "KEY_AUTHORITY_MAX_CONNECTIONS_PER_ADDRESS", default_value = "5000", value_name = "COUNT")]
    pub max_connections_per_address: String,
    /// Maximum number of connections to one listener without a call that had a valid token, a quarter of them from
    /// one address; the oldest is closed to make room for a new one
    #[arg(long, env = "KEY_AUTHORITY_MAX_UNAUTHENTICATED_CONNECTIONS", default_value = "1024", value_name = "COUNT")]
    pub max_unauthenticated_connections: String,
    /// Maximum memory for incomplete requests and unread responses, in MiB, 192 to 65536; one connection may hold an
    /// eighth of it for requests and a sixty-fourth for responses
    #[arg(long, env = "KEY_AUTHORITY_MAX_HELD_MIB", default_value = "256", value_name = "MIB")]
    pub max_held_mib: String,
    /// Age at which a connection is closed gracefully, so that clients spread over the replicas; varied by 10 %, 1s to
    /// 24h
    #[arg(long, env = "KEY_AUTHORITY_MAX_CONNECTION_AGE", default_value = "30m", value_name = "DURATION")]
    pub max_connection_age: String,
    /// Maximum number of calls in flight on one connection; clients queue further ones. Each may cost 16 KiB of headers
    #[arg(long, env = "KEY_AUTHORITY_MAX_STREAMS_PER_CONNECTION", default_value = "1000", value_name = "COUNT")]
    pub max_streams_per_connection: String,
    /// Time in which a new connection must complete the TLS handshake and send its first bytes, 100ms to 1m
    #[arg(long, env = "KEY_AUTHORITY_PREFACE_TIMEOUT", default_value = "5s", value_name = "DURATION")]
    pub preface_timeout: String,
    /// Deadline of calls that set none, and the maximum for those that do, 100ms to 10m; streams are exempt
    #[arg(long, env = "KEY_AUTHORITY_REQUEST_TIMEOUT", default_value = "30s", value_name = "DURATION")]
    pub request_timeout: String,
    /// Pause between "not serving" and the end of connections, for load balancers that react slowly; 0s to 8s
    #[arg(long, env = "KEY_AUTHORITY_SHUTDOWN_DELAY", default_value = "0s", value_name = "DURATION")]
    pub shutdown_delay: String,
    /// Time that calls in flight have during a shutdown; with --shutdown-delay at most 8s
    #[arg(long, env = "KEY_AUTHORITY_DRAIN_TIMEOUT", default_value = "6s", value_name = "DURATION")]
    pub drain_timeout: String,
    /// Format of the log on standard error: text or json
    #[arg(long, env = "KEY_AUTHORITY_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: String,
    /// Log filter: off, error, warn, info, debug, trace, or by module as in info,key_authority_server=debug
    #[arg(long, env = "KEY_AUTHORITY_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

/// Text that may contain a password; `Debug` does not show it.
#[derive(Clone)]
pub struct RedactedText(String);

impl From<String> for RedactedText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::ops::Deref for RedactedText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for RedactedText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}
