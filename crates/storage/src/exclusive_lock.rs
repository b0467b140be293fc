//! An exclusive lock of the operating system on an SQLite database: only one server may serve it.
//!
//! The only server neither waits for other replicas to apply a change nor needs to write to renew its lease. With a
//! full disk Verify continues, because no other process can make a change either. The operating system releases the
//! lock when the process ends. For several replicas, use PostgreSQL, MySQL or MariaDB.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::error::StorageError;
use crate::paths::beside;
use crate::store::Store;
use crate::timeout::bounded;

/// The exclusive lock on an SQLite database. Dropping it releases the lock.
#[derive(Debug)]
pub struct ExclusiveLock {
    file: File,
}

/// The ending of the lock file's name.
pub(crate) const LOCK_ENDING: &str = ".serving";

/// The exclusive lock cannot be acquired.
#[derive(Debug, thiserror::Error)]
pub enum ExclusiveLockError {
    /// Another server holds the lock.
    #[error(
        "another key-authority serves this SQLite database ({path} is locked); stop it, or use PostgreSQL, MySQL or \
         MariaDB for several replicas"
    )]
    Taken {
        /// The lock file.
        path: String,
    },
    /// The lock file cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ExclusiveLock {
    /// Acquires the lock of the database file at `path`.
    pub(crate) fn on(path: &Path) -> Result<Self, ExclusiveLockError> {
        let path = beside(path, LOCK_ENDING);
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        Self::acquire(&path, file.map_err(StorageError::File)?, File::try_lock)
    }

    /// Acquires the lock beside others that do the same, if no server has it. None if there is no lock file.
    pub(crate) fn shared_on(path: &Path) -> Result<Option<Self>, ExclusiveLockError> {
        let path = beside(path, LOCK_ENDING);
        match File::open(&path) {
            Ok(file) => Self::acquire(&path, file, File::try_lock_shared).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::File(error).into()),
        }
    }

    fn acquire(
        path: &Path,
        file: File,
        lock: fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Self, ExclusiveLockError> {
        match lock(&file) {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(ExclusiveLockError::Taken { path: path.display().to_string() }),
            Err(TryLockError::Error(error)) => Err(StorageError::File(error).into()),
        }
    }

    /// The lock file, whose content is the mark of the database file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl Store {
    /// The path of the SQLite database.
    pub(crate) async fn database_file(&self) -> Result<PathBuf, StorageError> {
        bounded(async {
            let sql = "SELECT file FROM pragma_database_list WHERE name = 'main'";
            let row = self.db.query_one_raw(Statement::from_string(DbBackend::Sqlite, sql)).await?;
            let path = row.map(|row| row.try_get::<String>("", "file")).transpose()?.unwrap_or_default();
            if path.is_empty() {
                // A database in memory. A lock file without its path would be in the working directory.
                return Err(StorageError::corrupt("pragma_database_list", "file", "main"));
            }
            Ok(PathBuf::from(path))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use key_authority_domain::secret::Keyring;

    use super::*;

    #[tokio::test]
    async fn a_database_without_a_file_has_no_lock_file() {
        let keyring = Keyring::parse(&"07".repeat(32)).unwrap();
        let store = Store::connect("sqlite::memory:", 1, Arc::new(keyring)).await.unwrap();
        let error = store.database_file().await.unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        assert!(!std::path::Path::new(".serving").exists());
    }
}
