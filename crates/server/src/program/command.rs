//! The subcommands.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use key_authority_domain::audit::ChainError;
use key_authority_domain::id::Revision;
use key_authority_domain::secret::Keyring;
use key_authority_storage::Store;
use key_authority_storage::audit_read::LogProof;
use key_authority_storage::settings::Head;
use key_authority_storage::sqlite_file::{self, ClaimedFile, Lost, Replaced, Restored, SqliteFileError};
use key_authority_text_io::is_output_closed;
use zeroize::Zeroizing;

use super::{bootstrap, check_config, healthcheck, serve, serve_error, startup, usage_error};
use crate::entropy;
use crate::observability::{error_chain, telemetry};
use crate::program::config::{
    AuditCommand, BackupArgs, Command, Config, ConfigErrors, ConfigMode, RestoreArgs, Settings,
};
use crate::program::shutdown::Shutdown;

/// Why a subcommand failed. The message contains no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The settings are invalid.
    #[error("invalid settings:\n{0}")]
    Config(ConfigErrors),
    /// The server did not start.
    #[error(transparent)]
    Serve(#[from] serve_error::ServeError),
    /// The authority secret or the database cannot be used.
    #[error(transparent)]
    Startup(#[from] startup::StartupError),
    /// The schema is not usable.
    #[error(transparent)]
    Schema(#[from] key_authority_storage::migrate::SchemaError),
    /// No root key was made.
    #[error(transparent)]
    Bootstrap(#[from] bootstrap::BootstrapError),
    /// The subcommand is for `SQLite`.
    #[error("this subcommand is for SQLite; use the backup tools of the database server (docs/operations.md)")]
    NotSqlite,
    /// The backup failed, or the restoration.
    #[error(transparent)]
    SqliteFile(#[from] SqliteFileError),
    /// The audit log cannot be read.
    #[error("cannot read the audit log")]
    Storage(#[from] key_authority_storage::StorageError),
    /// The value of `--kept-head` does not parse.
    #[error(
        "--kept-head must be a revision, a colon and a hash of 64 hexadecimal characters, as `audit verify` prints it"
    )]
    KeptHead,
    /// The operating system gave no random bytes.
    #[error(transparent)]
    Entropy(#[from] entropy::EntropyError),
    /// The server is not ready.
    #[error(transparent)]
    Healthcheck(#[from] healthcheck::HealthcheckError),
    /// Logs or traces cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] telemetry::TelemetryError),
    /// Standard output is closed.
    #[error("standard output is closed, so the token would be lost; no key was created")]
    ClosedOutput,
    /// The result of a subcommand that has changed something cannot be written.
    #[error("cannot write to standard output; {done}")]
    Output {
        /// What was done.
        done: String,
        /// The cause.
        source: std::io::Error,
    },
    /// What was asked for cannot be written.
    #[error("cannot write to standard output")]
    Print(#[source] std::io::Error),
    /// The signal handlers or the runtime failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<ConfigErrors> for CommandError {
    // The errors are a list, not a cause.
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}

/// Forbids core dumps and debuggers of other processes: the memory contains the authority secret and tokens.
fn forbid_memory_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    // A system that refuses has stricter rules of its own.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Logs panics like other errors. A task of the runtime that panics ends alone, and would leave only a line on standard
/// error in another format.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| tracing::error!(error = %panic, "task panicked")));
}

/// Runs a subcommand.
///
/// # Errors
/// [`CommandError`].
fn run(command: Command) -> Result<ExitCode, CommandError> {
    // Every file that the process writes, the database above all, is readable only by its owner.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    forbid_memory_dumps();
    match command {
        Command::Serve(settings) => {
            let config = read(&settings, ConfigMode::Serve)?;
            runtime()?.block_on(async {
                let telemetry = telemetry::init(&config.log, config.traces.as_ref())?;
                log_panics();
                let shutdown = Shutdown::on_signals(config.tls.is_some())?;
                Box::pin(serve::serve(config, &telemetry, shutdown.clone())).await?;
                drop(telemetry);
                Ok(shutdown.exit_code().into())
            })
        }
        Command::Migrate(settings) => {
            let config = read(&settings, ConfigMode::Maintain)?;
            runtime()?.block_on(migrate(&config))
        }
        Command::Bootstrap(settings) => {
            let config = read(&settings, ConfigMode::Serve)?;
            runtime()?.block_on(another_root_key(&config))
        }
        Command::Backup(arguments) => {
            let BackupArgs { to, settings } = *arguments;
            let config = read(&settings, ConfigMode::Maintain)?;
            runtime()?.block_on(back_up(&config, &to))
        }
        Command::Restore(arguments) => {
            let RestoreArgs { from, settings } = *arguments;
            let config = read(&settings, ConfigMode::Serve)?;
            runtime()?.block_on(restore(&config, &from))
        }
        Command::CheckConfig(settings) => {
            runtime()?.block_on(check_config::run(&settings, environment()))?;
            print_line("the settings are valid")
        }
        Command::Healthcheck(arguments) => {
            runtime()?.block_on(healthcheck::run(&arguments))?;
            print_line("ready")
        }
        Command::Audit(AuditCommand::Verify(arguments)) => {
            let kept = arguments.kept_head.as_deref().map(|text| head_of(text).ok_or(CommandError::KeptHead));
            let config = read(&arguments.settings, ConfigMode::Serve)?;
            runtime()?.block_on(verify_audit(&config, kept.transpose()?))
        }
        Command::GenerateToken => print_line(bootstrap::mint()?.reveal()),
        Command::GenerateSecret => {
            let secret = Zeroizing::new(entropy::bytes::<32>()?);
            let text = Keyring::file_text(&secret);
            print_line(text.trim_end().trim_start_matches("1:"))
        }
    }
}

fn read(settings: &Settings, mode: ConfigMode) -> Result<Config, ConfigErrors> {
    Config::from_args(settings, mode, environment())
}

fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        // A name that is not UTF-8 is not a setting of the server.
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn print_line(line: impl Display) -> Result<ExitCode, CommandError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(CommandError::Print)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the result of a subcommand that has changed something. If that fails, the error says what was `done`.
fn print_result(lines: impl Display, done: impl Display) -> Result<ExitCode, CommandError> {
    print_line(lines).map_err(|error| match error {
        CommandError::Print(source) => CommandError::Output { done: done.to_string(), source },
        error => error,
    })
}

async fn migrate(config: &Config) -> Result<ExitCode, CommandError> {
    // A file that does not exist yet is made as the server makes it.
    let file = startup::claim_or_join(config)?;
    let store = startup::connect_alone(config, &any_keyring()?).await?;
    if let Some(file) = file {
        startup::check_file(&store, file).await?;
    }
    let applied = store.migrate(file.map(ClaimedFile::lock)).await?;
    startup::close(&store, file).await?;
    let done = "the schema is up to date";
    print_result(format!("migrations applied: {applied}; {done}"), done)
}

/// A keyring for a connection that reads no digest and no hash: any secret will do.
fn any_keyring() -> std::io::Result<Arc<Keyring>> {
    Keyring::parse(&"00".repeat(32)).map(Arc::new).map_err(std::io::Error::other)
}

async fn back_up(config: &Config, to: &Path) -> Result<ExitCode, CommandError> {
    if config.database.url.file().is_none() {
        return Err(CommandError::NotSqlite);
    }
    startup::expect_database(config)?;
    let store = startup::connect_alone(config, &any_keyring()?).await?;
    let Head { revision, hash } = sqlite_file::back_up(&store, to).await?;
    let done = format!("{}: a backup up to revision {revision}, head {revision}:{hash}", to.display());
    print_result(&done, &done)
}

async fn restore(config: &Config, from: &Path) -> Result<ExitCode, CommandError> {
    let path = config.database.url.file().ok_or(CommandError::NotSqlite)?;
    let keyring = startup::keyring(config, false)?;
    let Restored { head: Head { revision, hash }, replaced, other_owner } =
        sqlite_file::restore(&path, from, &keyring).await?;
    let done = format!("{}: restored up to revision {revision}, head {revision}:{hash}", path.display());
    let owner = other_owner.map_or_else(String::new, |uid| {
        format!("\nthe file belonged to user ID {uid}, and now belongs to you; the server must run as the owner")
    });
    let done = done + &owner;
    let lost = replaced.as_ref().and_then(|replaced| replaced.lost);
    let advice = if lost.is_some_and(|Lost { common, last, .. }| common == last) {
        ""
    } else {
        "\nkeys that were revoked, disabled or deleted after the backup are valid again; end them again"
    };
    let replaced = replaced.map_or_else(String::new, |replaced| format!("\n{}", kept(&replaced)));
    print_result(format!("{done}{replaced}{advice}"), format!("{done}{advice}"))
}

/// Where the replaced database is, and which of its changes are lost.
fn kept(Replaced { path, lost }: &Replaced) -> String {
    let lost = match lost {
        None => "it cannot be read, so nothing shows which changes are lost".to_owned(),
        Some(Lost { common, last, .. }) if common == last => "all of its changes are in the backup".to_owned(),
        Some(Lost { common, last, time }) if common.next() == *last => {
            format!("its revision {last} is lost; it is of {time}")
        }
        Some(Lost { common, last, time }) => {
            format!("its revisions {} to {last} are lost; the last one is of {time}", common.next())
        }
    };
    format!("the replaced database is {}\n{lost}", path.display())
}

async fn another_root_key(config: &Config) -> Result<ExitCode, CommandError> {
    if is_output_closed() {
        return Err(CommandError::ClosedOutput);
    }
    startup::expect_file(config)?;
    let file = startup::claim_or_join(config)?;
    let keyring = startup::keyring(config, false)?;
    let store = startup::connect_alone(config, &keyring).await?;
    if let Some(file) = file {
        startup::check_file(&store, file).await?;
    }
    startup::expect_authority(config, &store).await?;
    startup::prepare(config, &store, file.map(ClaimedFile::lock)).await?;
    if let Some(file) = file {
        file.complete_first_start().await?;
    }
    let (key_id, token) = bootstrap::another(&store).await?;
    let closed = startup::close(&store, file).await;
    let lost = format!("the root key {} was created, but its token is lost: delete the key", key_id.as_str());
    let printed = print_result(token.reveal(), lost)?;
    closed?;
    Ok(printed)
}

/// Parses a head in the form that [`verify_audit`] prints.
fn head_of(text: &str) -> Option<Head> {
    let (revision, hash) = text.split_once(':')?;
    Some(Head { revision: Revision(revision.parse().ok()?), hash: hash.parse().ok()? })
}

async fn verify_audit(config: &Config, kept: Option<Head>) -> Result<ExitCode, CommandError> {
    startup::expect_database(config)?;
    let keyring = startup::keyring(config, false)?;
    let store: Store = startup::connect_alone(config, &keyring).await?;
    store.check_schema().await?;
    let proof = store.verify_log(kept, |checked| {
        if checked >= 100_000 && std::io::stderr().is_terminal() {
            let _ = write!(std::io::stderr(), "\r{checked} events checked");
        }
    });
    let proof = proof.await?;
    for fault in &proof.faults {
        print_line(fault)?;
    }
    let LogProof { head: Head { revision, hash }, checked, faults, unnamed } = proof;
    let late = faults.iter().filter(|fault| matches!(fault, ChainError::ActorEnded { .. })).count();
    if late == faults.len() && unnamed == 0 {
        print_line(format!("{checked} events up to revision {revision}: none altered, dropped or inserted"))?;
        if late > 0 {
            print_line(format!("{late} of them were made by callers whose keys had ended"))?;
        }
        print_line(format!(
            "store this elsewhere; it proves later that the log was not truncated: --kept-head {revision}:{hash}"
        ))?;
        Ok(if late == 0 { ExitCode::SUCCESS } else { ExitCode::from(3) })
    } else {
        print_line(format!("{} faults in {checked} events up to revision {revision}", faults.len() as u64 + unnamed))?;
        Ok(ExitCode::from(2))
    }
}

/// Whether errors are for machines. The settings may be what is wrong, so it looks at the arguments and the environment
/// themselves.
fn is_json_wanted() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--log-format" {
            return arguments.next().is_some_and(|format| format == "json");
        }
        if let Some(format) = argument.to_str().and_then(|argument| argument.strip_prefix("--log-format=")) {
            return format == "json";
        }
    }
    std::env::var_os("KEY_AUTHORITY_LOG_FORMAT").is_some_and(|format| format == "json")
}

/// Writes why the program ends to standard error. It does so by itself, because logs may not be set up, or not any more.
fn report(error: &CommandError, is_json: bool) {
    if !is_json {
        // A write to a closed console cannot be reported.
        let _ = writeln!(std::io::stderr(), "key-authority: {}", error_chain::whole(error));
    } else if let CommandError::Config(ConfigErrors(errors)) = error {
        for error in errors {
            telemetry::log_as_json("invalid settings", &error.to_string());
        }
    } else {
        telemetry::log_as_json("command failed", &error_chain::whole(error));
    }
}

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let is_json = is_json_wanted();
    if is_json {
        // Until logs are set up.
        std::panic::set_hook(Box::new(|panic| telemetry::log_as_json("task panicked", &panic.to_string())));
    }
    run(usage_error::parse(is_json).into_command()).unwrap_or_else(|error| {
        report(&error, is_json);
        ExitCode::FAILURE
    })
}
