//! Startup: opens the authority secret and the database, for every subcommand.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use key_authority_domain::secret::Keyring;
use key_authority_domain::text::ValidationError;
use key_authority_storage::database_checks::UnsafeSetting;
use key_authority_storage::exclusive_lock::ExclusiveLock;
use key_authority_storage::migrate::SchemaError;
use key_authority_storage::probe::probe;
use key_authority_storage::settings::SettingsError;
use key_authority_storage::sqlite_file::{self, ClaimedFile, Origin, SqliteFileError};
use key_authority_storage::{StorageError, Store};
use zeroize::Zeroizing;

use crate::entropy::{self, EntropyError};
use crate::program::bootstrap::make_private;
use crate::program::config::Config;
use crate::text_file;

/// How often, and how many times, a file that another process has is claimed again.
const CLAIM_INTERVAL: Duration = Duration::from_millis(100);
const CLAIM_RETRIES: u32 = 10;
/// The connections of a subcommand while it starts.
pub(crate) const SUBCOMMAND_CONNECTIONS: u32 = 2;

/// Why the authority secret or the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartupError {
    /// The data folder cannot be made.
    #[error("cannot create the data folder {path}")]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The secret file cannot be read or written.
    #[error("cannot use the secret file {path}")]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The content of the secret file violates a rule.
    #[error("the secret file {path} {rule}; `key-authority generate-secret` prints one")]
    Secret {
        /// The file.
        path: PathBuf,
        /// The rule.
        rule: ValidationError,
    },
    /// The secret file is missing, but the database exists.
    #[error(
        "the secret file {path} of an existing database is missing; restore it, since no token verifies without it"
    )]
    SecretLost {
        /// The file.
        path: PathBuf,
    },
    /// No secret file is configured.
    #[error("--secret-file (KEY_AUTHORITY_SECRET_FILE) is required to read the audit log's hashes")]
    NoSecret,
    /// The folder of an `SQLite` database does not exist.
    #[error("the folder {folder} of the database {url} does not exist; create it first")]
    NoFolder {
        /// The folder.
        folder: PathBuf,
        /// The database's URL.
        url: String,
    },
    /// The `SQLite` file cannot be used as it is.
    #[error(transparent)]
    SqliteFile(#[from] SqliteFileError),
    /// The database has no schema, so it contains no authority.
    #[error(
        "the database {url} contains no authority; check the setting, or start the server once to begin a new authority"
    )]
    NoAuthority {
        /// The URL, without the password.
        url: String,
    },
    /// The `SQLite` file does not exist.
    #[error("no database exists at {path}")]
    NoDatabase {
        /// Its file.
        path: PathBuf,
    },
    /// The database cannot be used.
    #[error("cannot use the database {url}{}", advice(.source))]
    Database {
        /// The URL, without the password.
        url: String,
        /// The cause.
        source: StorageError,
    },
    /// The database accepts too few connections.
    #[error(
        "the database accepts {free} connections of this user now, and {needed} are necessary; raise the limit of the \
         user (CONNECTION LIMIT, max_user_connections), of the server (max_connections) or of the pooler, or close \
         other connections"
    )]
    TooFewConnections {
        /// The number of connections that it accepts.
        free: u32,
        /// The number of connections that are necessary.
        needed: u32,
    },
    /// The database is behind a pooler that gives a session to several clients in turn.
    #[error(
        "the database {url} is behind a connection pooler in transaction or statement mode, in which settings of a \
         session and prepared statements do not work; set the pooler to session mode (PgBouncer: pool_mode = session), \
         or use a URL that leads past it"
    )]
    SharedSessions {
        /// The URL, without the password.
        url: String,
    },
    /// The schema is not the one that this build expects.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The settings in the database do not match this server.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Settings of the database server make it unsafe to use.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    UnsafeSettings(Vec<UnsafeSetting>),
    /// The operating system gave no random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

fn advice(error: &StorageError) -> &'static str {
    match error {
        StorageError::Unavailable(cause) if cause.to_string().contains("extra_float_digits") => {
            " (PgBouncer: set ignore_startup_parameters = extra_float_digits)"
        }
        StorageError::Unavailable(_) | StorageError::TimedOut => {
            " (is it running, and can this machine connect to it?)"
        }
        _ => "",
    }
}

/// Claims the file of an `SQLite` database, before anything else is read or made. A new authority begins only if there
/// is no trace of an earlier one. Returns `None` for a database server.
///
/// # Errors
/// [`StartupError`].
pub(crate) fn claim(config: &Config) -> Result<Option<&'static ClaimedFile>, StartupError> {
    let Some(path) = config.database.url.file() else { return Ok(None) };
    if config.database.embedded {
        make_data_dir(&config.data_dir)?;
    }
    check_folder(config)?;
    Ok(Some(ClaimedFile::claim(&path, &traces(config))?))
}

/// The file that the embedded default makes together with its database, and that nobody else makes. An operator may put
/// a secret in place before the first start.
fn traces(config: &Config) -> Vec<PathBuf> {
    let is_made = config.database.embedded && config.bootstrap_token_file.is_none();
    is_made.then(|| config.root_token_file()).into_iter().collect()
}

/// As [`claim`], but a subcommand may use the file for a moment.
///
/// # Errors
/// [`StartupError`].
pub(crate) async fn claim_to_serve(config: &Config) -> Result<Option<&'static ClaimedFile>, StartupError> {
    for _ in 0..CLAIM_RETRIES {
        match claim(config) {
            Err(StartupError::SqliteFile(SqliteFileError::Taken(_))) => tokio::time::sleep(CLAIM_INTERVAL).await,
            claimed => return claimed,
        }
    }
    claim(config)
}

/// As [`claim`], for a subcommand that changes the database, also while a server runs. Returns `None` then.
///
/// # Errors
/// [`StartupError`].
pub(crate) fn claim_or_join(config: &Config) -> Result<Option<&'static ClaimedFile>, StartupError> {
    match claim(config) {
        Err(StartupError::SqliteFile(SqliteFileError::Taken(_))) => expect_database(config).map(|()| None),
        claimed => claimed,
    }
}

/// Closes the connections of `store`, and lets them remove the `-wal` of a claimed file. If that is not possible, or
/// this is not called because of an error, the next start finds the changes in the `-wal`.
///
/// # Errors
/// [`StartupError`]. The connections are closed then too.
pub(crate) async fn close(store: &Store, file: Option<&'static ClaimedFile>) -> Result<(), StartupError> {
    let last = async {
        if let Some(file) = file {
            store.close_file(file, u32::from_ne_bytes(entropy::bytes()?)).await?;
        }
        Ok(())
    };
    let last = last.await;
    store.close().await;
    last
}

/// Checks the file of an `SQLite` database for a subcommand that does not make one.
///
/// # Errors
/// [`StartupError`].
pub(crate) fn expect_database(config: &Config) -> Result<(), StartupError> {
    expect_file(config)?;
    match config.database.url.file() {
        Some(path) => Ok(sqlite_file::inspect(&path)?),
        None => Ok(()),
    }
}

/// Checks that the file of an `SQLite` database exists. A connection or a claim would make it.
///
/// # Errors
/// [`StartupError::NoDatabase`], or that this user may not look.
pub(crate) fn expect_file(config: &Config) -> Result<(), StartupError> {
    match config.database.url.file() {
        Some(path) => match path.try_exists() {
            Ok(true) => Ok(()),
            Ok(false) => Err(StartupError::NoDatabase { path }),
            Err(source) => Err(SqliteFileError::File { path, source }.into()),
        },
        None => Ok(()),
    }
}

/// Returns the keyring of the authority secret. The embedded default makes the secret of a new authority.
///
/// # Errors
/// [`StartupError`].
pub(crate) fn keyring(config: &Config, is_new: bool) -> Result<Arc<Keyring>, StartupError> {
    let path = config.secret_file.as_deref().ok_or(StartupError::NoSecret)?;
    // A file that this user may not look at is not missing; reading it says so.
    if config.database.embedded && !path.try_exists().unwrap_or(true) {
        if !is_new {
            return Err(StartupError::SecretLost { path: path.to_owned() });
        }
        let secret = Zeroizing::new(entropy::bytes::<32>()?);
        make_private(path, Keyring::file_text(&secret).as_bytes()).map_err(|source| unusable(path, source))?;
    }
    read_secret(path).map(Arc::new)
}

/// Reads the file of the authority secret.
///
/// # Errors
/// [`StartupError::SecretFile`] or [`StartupError::Secret`].
pub(crate) fn read_secret(path: &Path) -> Result<Keyring, StartupError> {
    let text = text_file::read(path).map_err(|source| unusable(path, source))?;
    Keyring::parse(&text).map_err(|rule| StartupError::Secret { path: path.to_owned(), rule })
}

/// Returns the error of a database that cannot be used.
fn unusable_database(config: &Config, source: StorageError) -> StartupError {
    StartupError::Database { url: config.database.url.to_string(), source }
}

/// Returns how many sessions the database accepts now, at most `wanted`.
///
/// # Errors
/// [`StartupError::Database`], or [`StartupError::SharedSessions`] behind a pooler that gives a session to several
/// clients in turn.
pub(crate) async fn sessions(config: &Config, wanted: u32) -> Result<u32, StartupError> {
    let url = &config.database.url;
    let probed = probe(url.expose(), wanted).await.map_err(|source| unusable_database(config, source))?;
    if probed.are_shared { Err(StartupError::SharedSessions { url: url.to_string() }) } else { Ok(probed.sessions) }
}

/// Connects to the database. The schema is not checked yet.
///
/// # Errors
/// [`StartupError`].
pub(crate) async fn connect(config: &Config, keyring: &Arc<Keyring>, connections: u32) -> Result<Store, StartupError> {
    check_folder(config)?;
    let connected = Store::connect(config.database.url.expose(), connections, Arc::clone(keyring)).await;
    connected.map_err(|source| unusable_database(config, source))
}

/// Connects to the database with one connection, for a subcommand.
///
/// # Errors
/// [`StartupError`].
pub(crate) async fn connect_alone(config: &Config, keyring: &Arc<Keyring>) -> Result<Store, StartupError> {
    // Two sessions show whether a pooler shares them.
    let needed = SUBCOMMAND_CONNECTIONS;
    match sessions(config, needed).await? {
        free if free < needed => Err(StartupError::TooFewConnections { free, needed }),
        _ => connect(config, keyring, 1).await,
    }
}

fn check_folder(config: &Config) -> Result<(), StartupError> {
    match config.database.url.missing_folder() {
        Some(folder) => Err(StartupError::NoFolder { folder, url: config.database.url.to_string() }),
        None => Ok(()),
    }
}

/// Checks that an existing `SQLite` file contains an authority, and that a file that was restored or moved is whole.
///
/// # Errors
/// [`StartupError::SqliteFile`].
pub(crate) async fn check_file(store: &Store, file: &ClaimedFile) -> Result<(), StartupError> {
    let path = file.path();
    match file.origin() {
        Origin::New => {}
        Origin::Served if store.has_schema().await? => {}
        Origin::Served => return Err(SqliteFileError::NoAuthority { path: path.to_owned() }.into()),
        Origin::Elsewhere => {
            tracing::warn!(
                file = %path.display(),
                "the SQLite file may not be the one that this server wrote last (a restore, a move, an upgrade or a \
                 crash within a checkpoint); checking it"
            );
            store.check_integrity(path).await?;
        }
    }
    Ok(())
}

/// Checks that the database contains an authority.
///
/// # Errors
/// [`StartupError::NoAuthority`], or that the database did not answer.
pub(crate) async fn expect_authority(config: &Config, store: &Store) -> Result<(), StartupError> {
    let url = || config.database.url.to_string();
    match store.has_schema().await {
        Ok(true) => Ok(()),
        Ok(false) => Err(StartupError::NoAuthority { url: url() }),
        Err(SchemaError::Storage(source)) => Err(unusable_database(config, source)),
        Err(error) => Err(error.into()),
    }
}

/// Migrates or checks the schema, and checks the privileges of the user and the authority secret. `exclusive_lock` is
/// the lock on an `SQLite` file, if the caller has it.
///
/// # Errors
/// [`StartupError`].
pub(crate) async fn prepare(
    config: &Config,
    store: &Store,
    exclusive_lock: Option<&ExclusiveLock>,
) -> Result<(), StartupError> {
    if config.database.migrate {
        store.migrate(exclusive_lock).await?;
    } else {
        store.check_schema().await?;
    }
    store.check_privileges().await?;
    Ok(store.check_secret().await?)
}

/// Checks the settings of the database server. It warns of settings under which a crash may lose an acknowledged
/// change, and rejects settings under which a replica may answer from an old state.
///
/// # Errors
/// [`StartupError::UnsafeSettings`], or that the database did not answer.
pub(crate) async fn check_settings(store: &Store) -> Result<(), StartupError> {
    let settings = store.unsafe_settings().await.map_err(SettingsError::from)?;
    let (rejected, warned): (Vec<_>, Vec<_>) = settings.into_iter().partition(|setting| setting.is_refused);
    for UnsafeSetting { name, value, consequence, advice, .. } in warned {
        tracing::warn!(setting = name, value, consequence, advice, "unsafe database setting");
    }
    if rejected.is_empty() { Ok(()) } else { Err(StartupError::UnsafeSettings(rejected)) }
}

/// Makes the data folder, which only its owner may enter.
///
/// # Errors
/// [`StartupError::DataDir`].
pub(crate) fn make_data_dir(path: &Path) -> Result<(), StartupError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartupError::DataDir { path: path.to_owned(), source })
}

fn unusable(path: &Path, source: std::io::Error) -> StartupError {
    StartupError::SecretFile { path: path.to_owned(), source }
}
