//! `key-authority check-config`: all that is wrong with the settings, and with what they name.
//!
//! It reads every file that the server would read at its start, and leaves everything as it is. It does not ask the
//! database, nor bind a socket: it is for the desk and the pipeline, where neither need be.
//!
//! To add a file: a line in `problems`.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::observability::error_chain;
use crate::program::bootstrap::{self, BootstrapError};
use crate::program::config::{
    Config, ConfigError, ConfigErrors, ConfigMode, DATA_DIR, EMBEDDED_FILE, SECRET_FILE, Settings,
};
use crate::program::startup::{self, OpenError};
use crate::transport::tls::TlsFiles;

/// Checks.
///
/// # Errors
/// All that is wrong, not only the first.
pub(crate) async fn run(
    settings: &Settings,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(), ConfigErrors> {
    let mut errors = match Config::from_args(settings, ConfigMode::Serve, environment) {
        Ok(config) if config.database.embedded => Vec::new(),
        Ok(config) => folder_problem(settings, &config).into_iter().collect(),
        Err(ConfigErrors(errors)) => errors,
    };
    errors.extend(problems(settings).await);
    if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
}

/// What is wrong with what the settings name. An empty path is an error of the settings themselves.
async fn problems(settings: &Settings) -> Vec<ConfigError> {
    let named = |path: &Option<String>| path.clone().filter(|path| !path.is_empty());
    let mut problems = Vec::new();
    let secret_file = named(&settings.secret_file);
    let is_embedded = settings.database_url.is_none() && settings.database_url_file.is_none();
    let data_dir = settings.data_dir.as_deref().unwrap_or(DATA_DIR);
    if is_embedded && !data_dir.is_empty() {
        let data_dir = Path::new(data_dir);
        problems.extend(data_dir_problem(data_dir));
        problems.extend(embedded_secret_problem(data_dir, secret_file.as_deref()));
    } else {
        problems.extend(secret_file.as_deref().and_then(secret_problem));
    }
    problems.extend(named(&settings.bootstrap_token_file).as_deref().and_then(token_problem));
    if let (Some(cert), Some(key)) = (named(&settings.tls_cert), named(&settings.tls_key)) {
        let client_ca = named(&settings.client_ca).map(Into::into);
        let faults = TlsFiles { cert: cert.into(), key: key.into(), client_ca }.faults().await;
        problems.extend(faults.iter().map(|fault| ConfigError::Unusable { why: error_chain::whole(fault) }));
    }
    problems
}

fn folder_problem(settings: &Settings, config: &Config) -> Option<ConfigError> {
    let folder = config.database.url.missing_folder()?;
    let flag = if settings.database_url.is_some() { "database-url" } else { "database-url-file" };
    let rule = format!("names a file in the folder {}, which does not exist", folder.display());
    Some(ConfigError::Invalid { flag, value: None, rule })
}

fn problem(flag: &'static str, path: &str, rule: String) -> ConfigError {
    ConfigError::Invalid { flag, value: Some(path.to_owned()), rule }
}

/// The secret of the embedded default is made with its database, and only with it.
fn embedded_secret_problem(data_dir: &Path, given: Option<&str>) -> Option<ConfigError> {
    let path = given.map_or_else(|| data_dir.join(SECRET_FILE), Into::into);
    if path.exists() || data_dir.join(EMBEDDED_FILE).exists() { secret_problem(&path.to_string_lossy()) } else { None }
}

fn secret_problem(path: &str) -> Option<ConfigError> {
    let rule = match startup::read_secret(Path::new(path)).err()? {
        OpenError::SecretFile { source, .. } => format!("cannot be read: {source}"),
        OpenError::Secret { rule, .. } => format!("{rule}; `key-authority generate-secret` prints one"),
        other => other.to_string(),
    };
    Some(problem("secret-file", path, rule))
}

fn token_problem(path: &str) -> Option<ConfigError> {
    let rule = match bootstrap::read_token(Path::new(path)).err()? {
        BootstrapError::File { source, .. } => format!("cannot be read: {source}"),
        BootstrapError::NotAToken { .. } => "must hold one token as `key-authority generate-token` prints it".into(),
        other => other.to_string(),
    };
    Some(problem("bootstrap-token-file", path, rule))
}

/// Whether the data folder can be made, or written to, as nothing but trying can tell.
fn data_dir_problem(data_dir: &Path) -> Option<ConfigError> {
    let there = data_dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new(""));
    let error = try_to_write(there).err()?;
    Some(problem("data-dir", &data_dir.to_string_lossy(), format!("cannot be made or written to: {error}")))
}

/// Makes an empty folder, and removes it.
fn try_to_write(folder: &Path) -> io::Result<()> {
    let trial = folder.join(format!(".key-authority-check-config-{}", std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&trial)?;
    std::fs::remove_dir(&trial)
}
