//! The files beside a database file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::{SqliteFileError, failed};

/// The path with `ending` appended.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// The length of a file, or 0 if it does not exist.
pub(super) fn size(path: &Path) -> Result<u64, SqliteFileError> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(failed(path)(error)),
    }
}

/// Makes the names in the folder of a file durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), SqliteFileError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}
