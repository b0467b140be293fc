//! One server on one SQLite file: a lock of the operating system sees to it.
//!
//! A lone server need not ask the registry whether others know of a change, nor be able to write in order to keep its
//! lease: with a full disk Verify goes on, since nobody else can change anything either. The lock ends with the process,
//! however it ends. Several servers are what PostgreSQL, MySQL and MariaDB are for.

use std::fs::{File, TryLockError};
use std::path::PathBuf;

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::error::StorageError;
use crate::store::{StorageKind, Store};

/// The right to be the only server on an SQLite file, for as long as it is held.
#[derive(Debug)]
pub struct ExclusiveLock {
    _file: File,
}

/// Why it was not given.
#[derive(Debug, thiserror::Error)]
pub enum ExclusiveLockError {
    /// Another server has it.
    #[error(
        "another key-authority serves this SQLite database ({path} is locked); stop it, or use PostgreSQL, MySQL or \
         MariaDB for several replicas"
    )]
    Taken {
        /// The lock file.
        path: String,
    },
    /// The lock file could not be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Store {
    /// Takes the right to be the only server, before anything is written, where the database is SQLite; other databases take many.
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

    /// The path of a file beside the SQLite database.
    pub(crate) async fn file_beside(&self, ending: &str) -> Result<PathBuf, StorageError> {
        let sql = "SELECT file FROM pragma_database_list WHERE name = 'main'";
        let row = self.db.query_one_raw(Statement::from_string(DbBackend::Sqlite, sql)).await?;
        let path = row.map(|row| row.try_get::<String>("", "file")).transpose()?.unwrap_or_default();
        Ok(PathBuf::from(format!("{path}.{ending}")))
    }
}
