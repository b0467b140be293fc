//! `key-authority check-config`: lists every error in the settings and in the files that they name.
//!
//! It reads every file that the server would read at startup, and changes nothing. It neither connects to the database
//! nor binds a socket, so that it works on a developer's machine and in a pipeline.
//!
//! To check another file, add a line to `problems`.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustls::pki_types::UnixTime;

use crate::observability::error_chain;
use crate::program::bootstrap::{self, BootstrapError};
use crate::program::config::{
    Config, ConfigError, ConfigErrors, ConfigMode, DATA_DIR, EMBEDDED_FILE, SECRET_FILE, Settings, is_url,
};
use crate::program::startup::{self, StartupError};
use crate::transport::tls::TlsFiles;

/// Checks the settings.
///
/// # Errors
/// Every error, not only the first one.
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

/// Returns the problems of the files that the settings name. An empty path and a URL are errors of the settings
/// themselves.
async fn problems(settings: &Settings) -> Vec<ConfigError> {
    let named = |path: &Option<String>| path.clone().filter(|path| !path.trim().is_empty() && !is_url(path));
    let mut problems = Vec::new();
    let secret_file = named(&settings.secret_file);
    let is_embedded = settings.database_url.is_none() && settings.database_url_file.is_none();
    let data_dir = settings.data_dir.as_deref().unwrap_or(DATA_DIR);
    if is_embedded && !data_dir.trim().is_empty() && !is_url(data_dir) {
        let data_dir = Path::new(data_dir);
        problems.extend(data_dir_problem(data_dir));
        problems.extend(embedded_secret_problem(data_dir, secret_file.as_deref()));
    } else {
        problems.extend(secret_file.as_deref().and_then(secret_problem));
    }
    problems.extend(named(&settings.bootstrap_token_file).as_deref().and_then(token_problem));
    if let (Some(cert), Some(key)) = (named(&settings.tls_cert), named(&settings.tls_key)) {
        let client_ca = named(&settings.client_ca).map(Into::into);
        let files = TlsFiles { cert: cert.into(), key: key.into(), client_ca };
        let errors = files.errors().await;
        problems.extend(errors.iter().map(|error| ConfigError::Unusable { why: error_chain::whole(error) }));
        let rejected = files.problems(UnixTime::now()).await;
        problems.extend(
            rejected.iter().map(|reason| problem("tls-cert", &files.cert.to_string_lossy(), format!("it {reason}"))),
        );
    }
    problems
}

fn folder_problem(settings: &Settings, config: &Config) -> Option<ConfigError> {
    let folder = config.database.url.missing_folder()?;
    let flag = if settings.database_url.is_some() { "database-url" } else { "database-url-file" };
    let rule = format!("names a file in the folder {}, which does not exist", folder.display());
    Some(ConfigError::invalid(flag, None, rule))
}

fn problem(flag: &'static str, path: &str, rule: String) -> ConfigError {
    ConfigError::invalid(flag, Some(path), rule)
}

/// The secret of the embedded default is made together with its database, and only then.
fn embedded_secret_problem(data_dir: &Path, given: Option<&str>) -> Option<ConfigError> {
    let path = given.map_or_else(|| data_dir.join(SECRET_FILE), Into::into);
    if path.try_exists().unwrap_or(true) || data_dir.join(EMBEDDED_FILE).exists() {
        secret_problem(&path.to_string_lossy())
    } else {
        None
    }
}

fn secret_problem(path: &str) -> Option<ConfigError> {
    let rule = match startup::read_secret(Path::new(path)).err()? {
        StartupError::SecretFile { source, .. } => format!("cannot be read: {source}"),
        StartupError::Secret { rule, .. } => format!("{rule}; `key-authority generate-secret` prints one"),
        other => other.to_string(),
    };
    Some(problem("secret-file", path, rule))
}

fn token_problem(path: &str) -> Option<ConfigError> {
    let rule = match bootstrap::read_token(Path::new(path)).err()? {
        BootstrapError::File { source, .. } => format!("cannot be read: {source}"),
        BootstrapError::NotAToken { .. } => "must contain one token as `key-authority generate-token` prints it".into(),
        other => other.to_string(),
    };
    Some(problem("bootstrap-token-file", path, rule))
}

/// Checks that the data folder can be made or written to. Only an attempt shows that.
fn data_dir_problem(data_dir: &Path) -> Option<ConfigError> {
    let existing = data_dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new(""));
    let error = try_to_write(existing).err()?;
    Some(problem("data-dir", &data_dir.to_string_lossy(), format!("cannot be created or written to: {error}")))
}

/// Makes and removes an empty folder.
fn try_to_write(folder: &Path) -> io::Result<()> {
    let trial = folder.join(format!(".key-authority-check-config-{}", std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&trial)?;
    std::fs::remove_dir(&trial)
}
