//! Files with secrets: they are read and created only with permissions for their owner alone.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::errors::Error;
use crate::text_file;

/// Reads a text file that is accessible only to its owner.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    text_file::decode(read_bytes(path)?).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Reads a file that is accessible only to its owner.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    let unusable = |source| Error::File { path: path.to_owned(), source };
    let file = text_file::open(path).map_err(unusable)?;
    // Checked on the open file, because the path may be replaced.
    let mode = file.metadata().map_err(unusable)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::TooOpen { path: path.to_owned(), mode });
    }
    text_file::read_all(file).map_err(unusable)
}

/// A file for a token. It is created before the token is requested, so that no token is created if the file cannot be.
/// It is removed if no token was written.
#[derive(Debug)]
pub(crate) struct SaveFile {
    path: PathBuf,
    file: File,
    is_kept: bool,
}

impl SaveFile {
    /// Creates the file with mode 0600. An existing file is never overwritten.
    pub(crate) fn create(path: PathBuf) -> Result<Self, Error> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => Ok(Self { path, file, is_kept: false }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::Exists(path)),
            Err(source) => Err(Error::File { path, source }),
        }
    }

    /// Writes the token and syncs it to disk.
    pub(crate) fn keep(mut self, token: &str) -> std::io::Result<()> {
        writeln!(self.file, "{token}")?;
        self.file.sync_all()?;
        self.is_kept = true;
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SaveFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // The error of the command is more important than an empty file that remains.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_that_others_can_access_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "secret\n").unwrap();
        for (mode, is_private) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match read(&path) {
                Ok(text) => assert!(is_private && text == "secret\n", "{mode:o}"),
                Err(error) => assert!(!is_private && matches!(error, Error::TooOpen { .. }), "{mode:o}: {error}"),
            }
        }
    }

    #[test]
    fn a_saved_token_is_accessible_only_to_its_owner_and_replaces_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.txt");
        SaveFile::create(path.clone()).unwrap().keep("secret").unwrap();
        assert_eq!(read(&path).unwrap(), "secret\n");
        assert!(matches!(SaveFile::create(path.clone()), Err(Error::Exists(_))));
        assert_eq!(read(&path).unwrap(), "secret\n");
    }

    #[test]
    fn a_file_without_a_token_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.txt");
        drop(SaveFile::create(path.clone()).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_dangling_symlink_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.txt");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        assert!(matches!(SaveFile::create(path), Err(Error::Exists(_))));
    }
}
