//! Opening what every subcommand works on: the authority secret and the database.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use key_authority_domain::secret::Keyring;
use key_authority_domain::text::ValidationError;
use key_authority_storage::database_checks::UnsafeSetting;
use key_authority_storage::exclusive_lock::ExclusiveLock;
use key_authority_storage::migrate::SchemaError;
use key_authority_storage::settings::SettingsError;
use key_authority_storage::{StorageError, Store};
use zeroize::Zeroizing;

use crate::entropy::{self, EntropyError};
use crate::program::bootstrap::make_private;
use crate::program::config::{Config, EMBEDDED_FILE};

/// Why there is nothing to work on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The data folder could not be made.
    #[error("the data folder {path} cannot be made")]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The secret file could not be used.
    #[error("the secret file {path} cannot be used")]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The secret file breaks a rule.
    #[error("the secret file {path} {rule}; `key-authority generate-secret` prints one")]
    Secret {
        /// The file.
        path: PathBuf,
        /// The rule.
        rule: ValidationError,
    },
    /// The secret file is gone, the database is not.
    #[error("the secret file {path} is missing beside a database; without it no token verifies: put it back")]
    SecretLost {
        /// The file.
        path: PathBuf,
    },
    /// There is no secret file.
    #[error("--secret-file (KEY_AUTHORITY_SECRET_FILE) is needed to read the audit log's hashes")]
    NoSecret,
    /// The folder of an SQLite database is not there.
    #[error("the folder {folder} of the database {url} does not exist; make it first")]
    NoFolder {
        /// The folder.
        folder: PathBuf,
        /// The database's URL.
        url: String,
    },
    /// There is no database to look at.
    #[error("there is no database at {path}")]
    NoDatabase {
        /// Its file.
        path: PathBuf,
    },
    /// The database cannot be reached.
    #[error("the database {url} cannot be used{}", advice(.source))]
    Database {
        /// Its URL, without the password.
        url: String,
        /// Why.
        source: StorageError,
    },
    /// The schema is not the one this build knows.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The settings are not those of this database.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A setting of the database server makes it unfit.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    UnsafeSettings(Vec<UnsafeSetting>),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

fn advice(error: &StorageError) -> &'static str {
    match error {
        StorageError::Unavailable(_) | StorageError::TimedOut => " (does it run there, and may this machine connect?)",
        _ => "",
    }
}

/// The keys of the authority secret. With the embedded default, the secret is made at the first start.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn keyring(config: &Config) -> Result<Arc<Keyring>, OpenError> {
    let path = config.secret_file.as_deref().ok_or(OpenError::NoSecret)?;
    if config.database.embedded {
        make_data_dir(&config.data_dir)?;
        make_secret(path, &config.data_dir)?;
    }
    read_secret(path).map(Arc::new)
}

/// Reads the file of the authority secret.
///
/// # Errors
/// [`OpenError::SecretFile`] or [`OpenError::Secret`].
pub(crate) fn read_secret(path: &Path) -> Result<Keyring, OpenError> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|source| unusable(path, source))?;
    Keyring::parse(&text).map_err(|rule| OpenError::Secret { path: path.to_owned(), rule })
}

/// Checks that there is a database to look at: connecting to an `SQLite` file makes it. Whether a server has it, connecting
/// tells.
///
/// # Errors
/// [`OpenError::NoDatabase`].
pub(crate) fn expect_database(config: &Config) -> Result<(), OpenError> {
    match config.database.url.file() {
        Some(path) if !path.exists() => Err(OpenError::NoDatabase { path }),
        _ => Ok(()),
    }
}

/// Connects to the database. The schema may be anything yet.
///
/// # Errors
/// [`OpenError`].
pub(crate) async fn connect(config: &Config, keyring: &Arc<Keyring>, connections: u32) -> Result<Store, OpenError> {
    if let Some(folder) = config.database.url.missing_folder() {
        return Err(OpenError::NoFolder { folder, url: config.database.url.to_string() });
    }
    let connected = Store::connect(config.database.url.expose(), connections, Arc::clone(keyring)).await;
    connected.map_err(|source| OpenError::Database { url: config.database.url.to_string(), source })
}

/// Brings the schema up to date, or checks it, and checks the authority secret. `alone` is the right to serve an SQLite
/// file, where the caller has it.
///
/// # Errors
/// [`OpenError`].
pub(crate) async fn prepare(config: &Config, store: &Store, alone: Option<&ExclusiveLock>) -> Result<(), OpenError> {
    if config.database.migrate {
        store.migrate(alone).await?;
    } else {
        store.check_schema().await?;
    }
    Ok(store.check_secret().await?)
}

/// Looks at the settings of the database server: warns of those under which a crash may lose an acknowledged change, and
/// refuses those under which a replica may answer by an old state.
///
/// # Errors
/// [`OpenError::UnsafeSettings`], or when the database did not answer.
pub(crate) async fn check_settings(store: &Store) -> Result<(), OpenError> {
    let settings = store.unsafe_settings().await.map_err(SettingsError::from)?;
    let (refused, warned): (Vec<_>, Vec<_>) = settings.into_iter().partition(|setting| setting.is_refused);
    for UnsafeSetting { name, value, consequence, advice, .. } in warned {
        tracing::warn!(setting = name, value, consequence, advice, "unsafe database setting");
    }
    if refused.is_empty() { Ok(()) } else { Err(OpenError::UnsafeSettings(refused)) }
}

/// Makes the data folder, which only its owner may enter.
///
/// # Errors
/// [`OpenError::DataDir`].
pub(crate) fn make_data_dir(path: &Path) -> Result<(), OpenError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| OpenError::DataDir { path: path.to_owned(), source })
}

/// Makes the secret with the database: one that is missing beside a database is lost, and another would not do.
fn make_secret(path: &Path, data_dir: &Path) -> Result<(), OpenError> {
    if path.exists() {
        return Ok(());
    }
    if data_dir.join(EMBEDDED_FILE).exists() {
        return Err(OpenError::SecretLost { path: path.to_owned() });
    }
    let secret = Zeroizing::new(entropy::bytes::<32>()?);
    make_private(path, Keyring::file_text(&secret).as_bytes()).map_err(|source| unusable(path, source))
}

fn unusable(path: &Path, source: std::io::Error) -> OpenError {
    OpenError::SecretFile { path: path.to_owned(), source }
}
