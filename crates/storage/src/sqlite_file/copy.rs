//! Backups of a database file, and their restoration.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use key_authority_domain::secret::Keyring;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::claim::lock_name;
use super::error::{SqliteFileError, failed};
use super::mark::Mark;
use super::paths::{beside, size, sync_folder};
use crate::error::StorageError;
use crate::settings::Head;
use crate::store::Store;

/// What a restoration did.
#[derive(Debug)]
pub struct Restored {
    /// The head of the restored log.
    pub head: Head,
    /// Where the replaced database file is now. None if there was none.
    pub replaced: Option<PathBuf>,
}

/// Copies the database to `to`, which must not exist, while servers may be running. Returns the head of the copied log.
/// The copy is one file, complete and durable.
///
/// # Errors
/// [`SqliteFileError`]. There is no file `to` then.
pub async fn back_up(store: &Store, to: &Path) -> Result<Head, SqliteFileError> {
    if to.symlink_metadata().is_ok() {
        return Err(SqliteFileError::Exists { path: to.to_owned() });
    }
    let partial = beside(to, ".partial");
    remove_database(&partial)?;
    let statement = Statement::from_sql_and_values(
        DbBackend::Sqlite,
        "VACUUM INTO ?",
        [partial.to_string_lossy().into_owned().into()],
    );
    let copied = store.db.execute_raw(statement).await.map_err(StorageError::from);
    let copied = match copied {
        Ok(_) => check_copy(&partial, store.keyring(), Use::Keep).await,
        Err(error) => Err(error.into()),
    };
    let head = match copied {
        Ok(head) => head,
        Err(error) => {
            remove_database(&partial)?;
            return Err(error);
        }
    };
    File::open(&partial).and_then(|file| file.sync_all()).map_err(failed(&partial))?;
    std::fs::rename(&partial, to).map_err(failed(to))?;
    sync_folder(to)?;
    Ok(head)
}

/// Replaces the database file at `path` by the backup `from`, while no server runs. The replaced file is kept, with its
/// `-wal`. If this is interrupted, either the old file or the new one is complete at `path`, or none is there and a
/// server does not start.
///
/// # Errors
/// [`SqliteFileError`]. The database file is unchanged then, unless a file could not be renamed.
pub async fn restore(path: &Path, from: &Path, keyring: &Arc<Keyring>) -> Result<Restored, SqliteFileError> {
    let path = if path.exists() { path.canonicalize().map_err(failed(path))? } else { path.to_owned() };
    let lock = lock_name(&path)?;
    let partial = beside(&path, ".restoring");
    remove_database(&partial)?;
    let head = match take_copy(from, &partial, keyring).await {
        Ok(head) => head,
        Err(error) => {
            remove_database(&partial)?;
            return Err(error);
        }
    };
    let replaced = move_away(&path)?;
    Mark::Adopted.write(lock.file()).map_err(failed(&path))?;
    std::fs::rename(&partial, &path).map_err(failed(&path))?;
    sync_folder(&path)?;
    Ok(Restored { head, replaced })
}

/// Copies a backup with its logs, and checks the copy.
async fn take_copy(from: &Path, partial: &Path, keyring: &Arc<Keyring>) -> Result<Head, SqliteFileError> {
    // The logs beside a backup belong to it. The backup itself is not opened, since SQLite would change it.
    std::fs::copy(from, partial).map_err(failed(from))?;
    for ending in ["-wal", "-journal"] {
        let log = beside(from, ending);
        if log.exists() {
            std::fs::copy(&log, beside(partial, ending)).map_err(failed(&log))?;
        }
    }
    let head = check_copy(partial, keyring, Use::Serve).await?;
    File::open(partial).and_then(|file| file.sync_all()).map_err(failed(partial))?;
    Ok(head)
}

/// What a copy is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Keep,
    /// The authority secret must be that of the copy.
    Serve,
}

/// Checks a copy, and leaves it as one file.
async fn check_copy(copy: &Path, keyring: &Arc<Keyring>, usage: Use) -> Result<Head, SqliteFileError> {
    let store = Store::open_file(copy, Arc::clone(keyring)).await.map_err(|error| match error {
        StorageError::Damaged(cause) => {
            SqliteFileError::Damaged { path: copy.to_owned(), finding: format!("is damaged: {cause}") }
        }
        error => error.into(),
    })?;
    let checked = async {
        let head = store.check_integrity(copy).await?;
        // The secret of an older schema is checked when the server has migrated it.
        if usage == Use::Serve && store.check_schema().await.is_ok() {
            store.check_secret().await?;
        }
        Ok::<_, SqliteFileError>(head)
    };
    let checked = checked.await;
    // The last connection copies the `-wal` into the file, and removes it.
    store.close().await;
    let head = checked?;
    let wal = beside(copy, "-wal");
    if size(&wal)? > 0 {
        return Err(SqliteFileError::Leftover { path: copy.to_owned(), leftover: wal });
    }
    Ok(head)
}

/// Renames the database file and its logs. The file goes first: a server does not start on the logs alone.
fn move_away(path: &Path) -> Result<Option<PathBuf>, SqliteFileError> {
    let has = |ending| beside(path, ending).exists();
    if !["", "-wal", "-journal"].into_iter().any(has) {
        return Ok(None);
    }
    let is_free = |name: &PathBuf| ["", "-wal", "-journal"].iter().all(|ending| !beside(name, ending).exists());
    let Some(to) = (1..=u32::MAX).map(|number| beside(path, &format!(".replaced-{number}"))).find(is_free) else {
        return Ok(None);
    };
    for ending in ["", "-wal", "-journal"] {
        let old = beside(path, ending);
        if old.exists() {
            std::fs::rename(&old, beside(&to, ending)).map_err(failed(&old))?;
        }
    }
    remove_if_present(&beside(path, "-shm"))?;
    sync_folder(path)?;
    Ok(Some(to))
}

/// Removes a database file that is not in use, with its logs.
fn remove_database(path: &Path) -> Result<(), SqliteFileError> {
    ["", "-wal", "-shm", "-journal"].iter().try_for_each(|ending| remove_if_present(&beside(path, ending)))
}

fn remove_if_present(path: &Path) -> Result<(), SqliteFileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}
