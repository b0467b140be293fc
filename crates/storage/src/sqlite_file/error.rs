//! The error of everything that concerns a database file.

use std::path::{Path, PathBuf};

use crate::error::StorageError;
use crate::exclusive_lock::ExclusiveLockError;
use crate::migrate::SchemaError;
use crate::settings::SettingsError;

/// The database file cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum SqliteFileError {
    /// The database file is missing, and something shows that it existed.
    #[error(
        "the SQLite file {path} is missing, but {trace} of an earlier authority exists; restore the file \
         (`key-authority restore`); to begin a new authority, use an empty folder"
    )]
    Lost {
        /// The database file.
        path: PathBuf,
        /// What shows that the file existed.
        trace: PathBuf,
    },
    /// The database file exists and contains no authority.
    #[error(
        "the SQLite file {path} contains no authority; a copy of the file alone, made while a server runs, can be \
         empty: restore a backup (`key-authority restore`); to begin a new authority, use an empty folder"
    )]
    NoAuthority {
        /// The database file.
        path: PathBuf,
    },
    /// The database file has another format, or is cut off.
    #[error("the SQLite file {path} {finding}; restore a backup (`key-authority restore`)")]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What is wrong.
        finding: String,
    },
    /// A backup has another format, is cut off, or contains no authority.
    #[error("the backup {path} {finding}; nothing was changed; use another backup")]
    BadBackup {
        /// The backup.
        path: PathBuf,
        /// What is wrong.
        finding: String,
    },
    /// A copy cannot be written.
    #[error("cannot write {path}")]
    NotCopied {
        /// The copy.
        path: PathBuf,
        /// The cause.
        source: StorageError,
    },
    /// The log of another database file is beside this one.
    #[error(
        "{leftover} does not belong to the SQLite file {path}, and would overwrite a part of it; if you copied a backup \
         over the file, run `key-authority restore BACKUP`, which keeps both; otherwise see docs/operations.md"
    )]
    Leftover {
        /// The database file.
        path: PathBuf,
        /// The log.
        leftover: PathBuf,
    },
    /// The log of the database file is missing.
    #[error(
        "{wal} is missing, and with it the last changes, revocations among them; put it back beside the SQLite file \
         {path}, or restore a backup; to continue without these changes, see docs/operations.md"
    )]
    WalLost {
        /// The database file.
        path: PathBuf,
        /// The log.
        wal: PathBuf,
    },
    /// A log is beside a backup, and nothing shows that it belongs to it.
    #[error(
        "{log} may not belong to the backup {path}; if it does, copy {path}.serving beside them too; otherwise move it \
         away"
    )]
    UnknownLog {
        /// The backup.
        path: PathBuf,
        /// The log.
        log: PathBuf,
    },
    /// The database file has several names.
    #[error(
        "the SQLite file {path} has {names} names (hard links), and a part of its data would be beside one of them \
         only; remove the other links (`find / -xdev -samefile {path}` lists them), or use a copy; after an interrupted \
         `key-authority restore`, repeat it"
    )]
    HardLinks {
        /// The database file.
        path: PathBuf,
        /// The number of names.
        names: u64,
    },
    /// The database file is mounted alone.
    #[error(
        "the SQLite file {path} is mounted without its folder, and a part of its data would stay outside of the mount; \
         mount the folder instead"
    )]
    MountedAlone {
        /// The database file.
        path: PathBuf,
    },
    /// The path is not a file.
    #[error("the SQLite file {path} is not a regular file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Another server serves the file, under this name or another one.
    #[error(transparent)]
    Taken(#[from] ExclusiveLockError),
    /// The database file was replaced while it was served.
    #[error("the SQLite file {path} was {what} while the server runs")]
    Replaced {
        /// The database file.
        path: PathBuf,
        /// What happened.
        what: &'static str,
    },
    /// A copy must not overwrite a file.
    #[error("{path} exists already; choose another name, or remove it unless another backup is being made")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot read and write {path}{}", advice(.source))]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The authority secret is not that of the backup.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The schema of the backup is newer than this build, or cannot be read.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// SQLite failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            " (the user of the server needs the file and its folder for reading and writing)"
        }
        std::io::ErrorKind::ReadOnlyFilesystem => " (SQLite needs a writable file system)",
        _ => "",
    }
}

/// Makes the error of a file operation.
pub(super) fn failed(path: &Path) -> impl Fn(std::io::Error) -> SqliteFileError {
    move |source| SqliteFileError::File { path: path.to_owned(), source }
}
