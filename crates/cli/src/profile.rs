//! The profile file: endpoints of authorities, and the token and certificates for each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::errors::Error;

/// The content of the profile file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// Name of the default profile.
    default: Option<String>,
    #[serde(default)]
    profile: BTreeMap<String, Profile>,
}

/// One authority and one caller.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) endpoint: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) client_cert: Option<PathBuf>,
    pub(crate) client_key: Option<PathBuf>,
}

/// Loads the profile with this name, or the default profile. The default profile file may be missing.
pub(crate) fn load(config: Option<&Path>, name: Option<&str>) -> Result<Profile, Error> {
    // A relative path would read a file of the current folder.
    let home = std::env::home_dir().filter(|home| home.is_absolute());
    let Some(path) = config.map(Path::to_owned).or_else(|| default_path(home.as_deref())) else {
        return name.map_or_else(|| Ok(Profile::default()), |name| Err(no_profile(name, Path::new("~/.config"), &[])));
    };
    let text = match key_authority_text_io::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && config.is_none() && name.is_none() => {
            return Ok(Profile::default());
        }
        Err(source) => return Err(Error::File { path, source }),
    };
    pick(&text, &path, name, home.as_deref())
}

/// `$XDG_CONFIG_HOME/keyctl/config.toml`, or `~/.config/keyctl/config.toml` if the variable is not set.
fn default_path(home: Option<&Path>) -> Option<PathBuf> {
    let configured = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = configured.or_else(|| Some(home?.join(".config")))?;
    Some(folder.join("keyctl/config.toml"))
}

fn pick(text: &str, path: &Path, name: Option<&str>, home: Option<&Path>) -> Result<Profile, Error> {
    let mut content: Content = toml::from_str(text)
        .map_err(|error| Error::ProfileFile { path: path.to_owned(), problem: error.to_string().trim().to_owned() })?;
    let Some(name) = name.map(str::to_owned).or_else(|| content.default.take()) else { return Ok(Profile::default()) };
    let Some(mut profile) = content.profile.remove(&name) else {
        let others: Vec<_> = content.profile.into_keys().collect();
        return Err(no_profile(&name, path, &others));
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let files = [&mut profile.token_file, &mut profile.ca_file, &mut profile.client_cert, &mut profile.client_key];
    for file in files.into_iter().flatten() {
        *file = placed(file, folder, home);
    }
    Ok(profile)
}

fn no_profile(name: &str, path: &Path, others: &[String]) -> Error {
    Error::NoProfile { name: name.to_owned(), path: path.to_owned(), others: others.join(", ") }
}

/// Resolves a path of the profile file: relative to the folder of the file, with `~` for the home folder.
fn placed(file: &Path, folder: &Path, home: Option<&Path>) -> PathBuf {
    match (file.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => folder.join(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        default = "local"
        [profile.local]
        endpoint = "http://127.0.0.1:50051"
        token_file = "root.token"
        [profile.production]
        endpoint = "https://keys.example:443"
        token_file = "~/keys/production.token"
        ca_file = "/etc/ca.pem"
    "#;

    fn picked(text: &str, name: Option<&str>) -> Result<Profile, Error> {
        pick(text, Path::new("/config/keyctl/config.toml"), name, Some(Path::new("/home/a")))
    }

    #[test]
    fn a_profile_is_picked_by_name_or_by_default() {
        let local = picked(FILE, None).unwrap();
        assert_eq!(local.endpoint.as_deref(), Some("http://127.0.0.1:50051"));
        assert_eq!(local.token_file.as_deref(), Some(Path::new("/config/keyctl/root.token")));
        assert_eq!(local, picked(FILE, Some("local")).unwrap());
        let production = picked(FILE, Some("production")).unwrap();
        assert_eq!(production.token_file.as_deref(), Some(Path::new("/home/a/keys/production.token")));
        assert_eq!(production.ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
        assert_eq!(picked("", None).unwrap(), Profile::default());
    }

    #[test]
    fn the_example_of_the_reference_can_be_parsed() {
        let reference = include_str!("../../../docs/keyctl.md");
        let (_, example) = reference.split_once("```toml\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        assert_eq!(picked(example, None).unwrap(), picked(example, Some("local")).unwrap());
        let production = picked(example, Some("production")).unwrap();
        assert!(production.client_key.is_some() && production.ca_file.is_some(), "{production:?}");
    }

    #[test]
    fn errors_of_the_profile_file_are_reported() {
        let error = picked(FILE, Some("staging")).unwrap_err().to_string();
        assert!(error.contains("staging") && error.contains("local, production"), "{error}");
        for text in ["[profile.a]\ntoken = 'secret'", "defaults = 'a'", "= ="] {
            assert!(matches!(picked(text, None), Err(Error::ProfileFile { .. })), "{text}");
        }
    }
}
