//! An exclusive lock of the operating system on an SQLite database: only one server may serve it.
//!
//! The only server neither waits for other replicas to apply a change nor needs to write to renew its lease. With a
//! full disk Verify continues, because no other process can make a change either. The operating system releases the
//! lock when the process ends. For several replicas, use PostgreSQL, MySQL or MariaDB.

use std::fs::{File, TryLockError};
use std::path::PathBuf;

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::error::StorageError;
use crate::store::{StorageKind, Store};
use crate::timeout::bounded;

/// The exclusive lock on an SQLite database. Dropping it releases the lock.
#[derive(Debug)]
pub struct ExclusiveLock {
    _file: File,
}

/// The error of [`Store::acquire_exclusive`].
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

impl Store {
    /// Acquires the exclusive lock of an SQLite database. Call it before any write. Returns None for other databases,
    /// which allow several servers.
    ///
    /// # Errors
    /// [`ExclusiveLockError`].
    pub async fn acquire_exclusive(&self) -> Result<Option<ExclusiveLock>, ExclusiveLockError> {
        if self.kind() != StorageKind::Sqlite {
            return Ok(None);
        }
        let path = self.file_beside("serving").await?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(StorageError::File)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(ExclusiveLock { _file: file })),
            Err(TryLockError::WouldBlock) => Err(ExclusiveLockError::Taken { path: path.display().to_string() }),
            Err(TryLockError::Error(error)) => Err(StorageError::File(error).into()),
        }
    }

    /// The path of the SQLite database with `ending` appended.
    pub(crate) async fn file_beside(&self, ending: &str) -> Result<PathBuf, StorageError> {
        bounded(async {
            let sql = "SELECT file FROM pragma_database_list WHERE name = 'main'";
            let row = self.db.query_one_raw(Statement::from_string(DbBackend::Sqlite, sql)).await?;
            let path = row.map(|row| row.try_get::<String>("", "file")).transpose()?.unwrap_or_default();
            if path.is_empty() {
                // A database in memory. A lock file without its path would be in the working directory.
                return Err(StorageError::corrupt("pragma_database_list", "file", "main"));
            }
            Ok(PathBuf::from(format!("{path}.{ending}")))
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
        let error = store.acquire_exclusive().await.unwrap_err();
        assert!(matches!(error, ExclusiveLockError::Storage(StorageError::Corrupt { .. })), "{error}");
        assert!(!std::path::Path::new(".serving").exists());
    }
}
