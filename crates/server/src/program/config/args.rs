//! The command line as clap sees it: text, not yet judged.
//!
//! Every flag has an environment twin, `KEY_AUTHORITY_` and the flag in capitals. Flags that the command line does not know
//! are refused by clap; variables that we do not know are refused by [`super::Config::from_args`].

#![expect(clippy::doc_markdown, reason = "the comments of the settings are the text of --help")]

use clap::{Args, Parser, Subcommand};

/// Issues API keys and tells, for every call, whether a token may do what it asks.
///
/// Without a subcommand it serves: `key-authority` is `key-authority serve`.
#[derive(Debug, Parser)]
#[command(name = "key-authority", version = crate::version::VERSION, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; none means [`Command::Serve`] with [`Cli::settings`].
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings of `serve` when no subcommand is named.
    #[command(flatten)]
    pub settings: Box<Settings>,
}

impl Cli {
    /// What to do.
    #[must_use]
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.settings))
    }
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serves gRPC, metrics and probes until it is told to stop
    Serve(Box<Settings>),
    /// Brings the database's schema up to date, and ends
    Migrate(Box<Settings>),
    /// Makes another root key, beside all that there are, prints its token, and ends
    Bootstrap(Box<Settings>),
    /// Says all that is wrong with the settings and with the files that they name, and ends; does not ask the database
    CheckConfig(Box<Settings>),
    /// Asks a running server on this machine whether it is ready; exit code 0 or 1, for container images
    Healthcheck(HealthcheckArgs),
    /// Works on the audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Prints a fresh root token for --bootstrap-token-file
    GenerateToken,
    /// Prints a fresh authority secret for --secret-file: 64 hexadecimal characters
    GenerateSecret,
}

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Recomputes the hash chain of the audit log, and checks that no caller changed anything after its end: exit code 0 when
    /// no event was altered, inserted or dropped, 2 when one was, 3 when only callers that had ended changed something
    Verify(Box<VerifyArgs>),
}

/// How `audit verify` looks.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// Head of the log as an earlier `audit verify` printed it; without it nothing tells that the log was cut short since
    #[arg(long, value_name = "REVISION:HASH")]
    pub kept_head: Option<String>,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// How `healthcheck` asks.
#[derive(Debug, Clone, Args)]
pub struct HealthcheckArgs {
    /// HTTP address of the server; a wildcard address means this machine
    #[arg(long, env = "KEY_AUTHORITY_HTTP_LISTEN", default_value = "127.0.0.1:9464", value_name = "ADDRESS")]
    pub http_listen: String,
    /// How long to wait for the answer, such as 500ms or 2s
    #[arg(long, default_value = "2s", value_name = "DURATION")]
    pub timeout: String,
}

/// The settings as text. Durations are written 500ms, 10s, 5m, 1h.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Folder of the embedded database, the generated authority secret and the root token; of no use beside --database-url
    /// [default: ./data]
    #[arg(long, env = "KEY_AUTHORITY_DATA_DIR", value_name = "PATH")]
    pub data_dir: Option<String>,
    /// Database: postgres://…, mysql://… or sqlite://… [default: an SQLite file in the data folder]
    #[arg(long, env = "KEY_AUTHORITY_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<RedactedText>,
    /// File that holds the database URL, in place of --database-url
    #[arg(long, env = "KEY_AUTHORITY_DATABASE_URL_FILE", value_name = "PATH")]
    pub database_url_file: Option<String>,
    /// PostgreSQL only: a URL that leads to the database past any pooler, for being told of changes (LISTEN); without it
    /// changes are looked for every few milliseconds [default: --database-url]
    #[arg(long, env = "KEY_AUTHORITY_NOTIFY_URL", value_name = "URL", hide_env_values = true)]
    pub notify_url: Option<RedactedText>,
    /// Connections to the database, 1 to 200
    #[arg(long, env = "KEY_AUTHORITY_DATABASE_CONNECTIONS", default_value = "10", value_name = "COUNT")]
    pub database_connections: String,
    /// Leave the schema alone; refuse to start when it is not up to date
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
    /// File of the authority secret; needed with --database-url [default: made in the data folder with the embedded database]
    #[arg(long, env = "KEY_AUTHORITY_SECRET_FILE", value_name = "PATH")]
    pub secret_file: Option<String>,
    /// File of the root token with which an empty authority starts, the same for all replicas
    #[arg(long, env = "KEY_AUTHORITY_BOOTSTRAP_TOKEN_FILE", value_name = "PATH")]
    pub bootstrap_token_file: Option<String>,
    /// How long a replica may answer from memory after it last heard from the database, 5s to 1m
    /// [default: what the database says, at first 10s]
    #[arg(long, env = "KEY_AUTHORITY_LEASE", value_name = "DURATION")]
    pub lease: Option<String>,
    /// Answer Verify without asking who calls, for meshes that authenticate already
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
    /// Connections to one gRPC listener; one more is closed at once
    #[arg(long, env = "KEY_AUTHORITY_MAX_CONNECTIONS", default_value = "10000", value_name = "COUNT")]
    pub max_connections: String,
    /// Age at which a connection is asked to end, so that clients spread over the replicas; varied by 10 %, 1s to 24h
    #[arg(long, env = "KEY_AUTHORITY_MAX_CONNECTION_AGE", default_value = "30m", value_name = "DURATION")]
    pub max_connection_age: String,
    /// Calls in flight on one connection; clients hold further ones back. Each may cost 16 KiB of headers
    #[arg(long, env = "KEY_AUTHORITY_MAX_STREAMS_PER_CONNECTION", default_value = "1000", value_name = "COUNT")]
    pub max_streams_per_connection: String,
    /// Time a new connection has for the TLS handshake and its first bytes, 100ms to 1m
    #[arg(long, env = "KEY_AUTHORITY_PREFACE_TIMEOUT", default_value = "5s", value_name = "DURATION")]
    pub preface_timeout: String,
    /// Deadline of calls that name none, and the most that a call may name, 100ms to 10m; streams are exempt
    #[arg(long, env = "KEY_AUTHORITY_REQUEST_TIMEOUT", default_value = "30s", value_name = "DURATION")]
    pub request_timeout: String,
    /// Pause between "not serving" and the end of connections, for load balancers that are slow to look; 0s to 8s
    #[arg(long, env = "KEY_AUTHORITY_SHUTDOWN_DELAY", default_value = "0s", value_name = "DURATION")]
    pub shutdown_delay: String,
    /// Time that calls in flight have when the server ends; with --shutdown-delay at most 8s
    #[arg(long, env = "KEY_AUTHORITY_DRAIN_TIMEOUT", default_value = "6s", value_name = "DURATION")]
    pub drain_timeout: String,
    /// Form of the log on standard error: text or json
    #[arg(long, env = "KEY_AUTHORITY_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: String,
    /// What is logged: off, error, warn, info, debug, trace, or by module as in info,key_authority_server=debug
    #[arg(long, env = "KEY_AUTHORITY_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

/// Text that may hold a password: `Debug` does not show it.
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
