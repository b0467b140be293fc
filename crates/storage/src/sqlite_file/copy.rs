//! Backups of a database file, and their restoration.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use key_authority_domain::secret::Keyring;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::claim::lock_name;
use super::error::{SqliteFileError, failed};
use super::lost::{Lost, lost};
use super::mark::Mark;
use super::origin::decide;
use crate::error::StorageError;
use crate::exclusive_lock::{ExclusiveLock, LOCK_ENDING};
use crate::migrate::SchemaError;
use crate::paths::{beside, size, sync_folder};
use crate::settings::Head;
use crate::store::Store;

/// The endings of the files that SQLite would apply to a database file.
const LOGS: [&str; 2] = ["-wal", "-journal"];
/// The endings of the files of a database.
const FILES: [&str; 4] = ["", "-wal", "-journal", "-shm"];

/// What a restoration did.
#[derive(Debug)]
pub struct Restored {
    /// The head of the restored log.
    pub head: Head,
    /// The replaced database. None if there was none.
    pub replaced: Option<Replaced>,
    /// The user ID of the owner of the replaced file, if the new file could not be given to this user.
    pub other_owner: Option<u32>,
}

/// What a restoration replaced.
#[derive(Debug)]
pub struct Replaced {
    /// Where the database file is now.
    pub path: PathBuf,
    /// What was lost. None if it could not be read.
    pub lost: Option<Lost>,
}

/// Copies the database to `to`, which must not exist, while servers may be running. Returns the head of the copied log.
/// The copy is one file, complete and durable.
///
/// # Errors
/// [`SqliteFileError`]. There is no file `to` then.
pub async fn back_up(store: &Store, to: &Path) -> Result<Head, SqliteFileError> {
    let partial = beside(to, ".partial");
    for path in [to, partial.as_path()] {
        // SQLite would apply a log to the copy.
        if let Some(path) = FILES.map(|ending| beside(path, ending)).into_iter().find(|path| exists(path)) {
            return Err(SqliteFileError::Exists { path });
        }
    }
    // SQLite copies into an empty file. Only this process made it, so that it may remove it.
    create(&partial)?;
    let made = copy_into(store, &partial, to).await;
    remove_database(&partial)?;
    let head = made?;
    sync_folder(to).map_err(failed(to))?;
    Ok(head)
}

/// Copies the database to `partial`, checks the copy, and gives it the name `to` as well.
async fn copy_into(store: &Store, partial: &Path, to: &Path) -> Result<Head, SqliteFileError> {
    let name = partial.to_string_lossy().into_owned();
    let statement = Statement::from_sql_and_values(DbBackend::Sqlite, "VACUUM INTO ?", [name.into()]);
    store.db.execute_raw(statement).await.map_err(|error| match StorageError::from(error) {
        source @ StorageError::CannotWrite(_) => SqliteFileError::NotCopied { path: to.to_owned(), source },
        error => error.into(),
    })?;
    let head = check_copy(partial, store.keyring(), Use::Keep).await?;
    File::open(partial).and_then(|file| file.sync_all()).map_err(failed(partial))?;
    // Unlike a renaming, it does not replace a file that another program has put there in the meantime.
    std::fs::hard_link(partial, to).map_err(unless_exists(to))?;
    Ok(head)
}

/// Replaces the database file at `path` by the backup `from`, while no server runs. The replaced file is kept, with its
/// `-wal`. If root does this, the file belongs to the same user afterwards. If this is interrupted, a server either
/// finds the old file or the new one, or it does not start; a repeated restoration succeeds.
///
/// # Errors
/// [`SqliteFileError`]. The database file is unchanged then, unless a file could not be renamed.
pub async fn restore(path: &Path, from: &Path, keyring: &Arc<Keyring>) -> Result<Restored, SqliteFileError> {
    let path = if path.exists() { path.canonicalize().map_err(failed(path))? } else { path.to_owned() };
    let is_first = !exists(&beside(&path, LOCK_ENDING));
    let lock = lock_name(&path)?;
    let partial = beside(&path, ".restoring");
    remove_database(&partial)?;
    let taken = async {
        let head = take_copy(from, &partial, keyring).await?;
        Ok((head, give_to_owner(&path, is_first, &partial)?))
    };
    let (head, other_owner) = match taken.await {
        Ok(taken) => taken,
        Err(error) => {
            remove_database(&partial)?;
            if is_first {
                remove_if_present(&beside(&path, LOCK_ENDING))?;
            }
            return Err(error);
        }
    };
    let is_readable = is_whole(&path, &lock);
    let replaced = keep_files(&path)?;
    // Until the logs are gone, the mark shows a server that they do not belong to the new file.
    std::fs::rename(&partial, &path).map_err(failed(&path))?;
    sync_folder(&path).map_err(failed(&path))?;
    LOGS.iter().chain(&["-shm"]).try_for_each(|ending| remove_if_present(&beside(&path, ending)))?;
    sync_folder(&path).map_err(failed(&path))?;
    Mark::Adopted.write(lock.file()).map_err(failed(&path))?;
    let replaced = match replaced {
        Some(to) => Some(Replaced { lost: if is_readable { lost(&to, &path).await } else { None }, path: to }),
        None => None,
    };
    Ok(Restored { head, replaced, other_owner })
}

/// Gives a new database file, and a new lock file, to the owner of the replaced one, or of the folder. Only root may do
/// so: for other users, it returns the owner of the replaced file.
fn give_to_owner(path: &Path, is_first: bool, new: &Path) -> Result<Option<u32>, SqliteFileError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let model = if path.exists() { path } else { folder };
    let owner = std::fs::metadata(model).map_err(failed(model))?;
    let lock = is_first.then(|| beside(path, LOCK_ENDING));
    let mut other = None;
    for file in [Some(new), lock.as_deref()].into_iter().flatten() {
        // The group has no access, so it does not matter.
        if std::fs::metadata(file).map_err(failed(file))?.uid() != owner.uid() {
            match std::os::unix::fs::chown(file, Some(owner.uid()), Some(owner.gid())) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => other = Some(owner.uid()),
                given => given.map_err(failed(file))?,
            }
        }
    }
    Ok(other.filter(|_| model == path))
}

/// Whether a database file and its `-wal` belong together.
fn is_whole(path: &Path, lock: &ExclusiveLock) -> bool {
    let decided = || decide(path, &File::open(path).ok()?, Mark::read(lock.file()).ok()?).ok();
    decided().is_some()
}

/// Copies a backup with its logs, and checks the copy.
async fn take_copy(from: &Path, partial: &Path, keyring: &Arc<Keyring>) -> Result<Head, SqliteFileError> {
    if !std::fs::metadata(from).map_err(failed(from))?.is_file() {
        let finding = "is not a regular file".to_owned();
        return Err(SqliteFileError::BadBackup { path: from.to_owned(), finding });
    }
    // The backup itself is not opened, since SQLite would change it.
    copy(from, partial)?;
    for ending in logs_of(from)? {
        copy(&beside(from, ending), &beside(partial, ending))?;
    }
    let head = check_copy(partial, keyring, Use::Serve).await.map_err(|error| match error {
        SqliteFileError::Damaged { finding, .. } => SqliteFileError::BadBackup { path: from.to_owned(), finding },
        SqliteFileError::NoAuthority { .. } => {
            SqliteFileError::BadBackup { path: from.to_owned(), finding: "contains no authority".to_owned() }
        }
        error => error,
    })?;
    File::open(partial).and_then(|file| file.sync_all()).map_err(failed(partial))?;
    Ok(head)
}

/// The endings of the logs beside a backup, which belong to it. The lock file of a whole folder shows that.
fn logs_of(from: &Path) -> Result<Vec<&'static str>, SqliteFileError> {
    let mut logs = Vec::new();
    for ending in LOGS {
        let log = beside(from, ending);
        if size(&log).map_err(failed(&log))? > 0 {
            logs.push(ending);
        }
    }
    let Some(first) = logs.first() else { return Ok(logs) };
    let mark = match File::open(beside(from, LOCK_ENDING)) {
        Ok(file) => Mark::read(&file).map_err(failed(from))?,
        Err(_) => Mark::Unknown,
    };
    if mark.last().is_none() {
        return Err(SqliteFileError::UnknownLog { path: from.to_owned(), log: beside(from, first) });
    }
    decide(from, &File::open(from).map_err(failed(from))?, mark)?;
    Ok(logs)
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
        if usage == Use::Serve {
            match store.check_schema().await {
                Ok(()) => store.check_secret().await?,
                // The server checks the secret when it has migrated the schema.
                Err(SchemaError::Older { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok::<_, SqliteFileError>(head)
    };
    let checked = checked.await;
    // The last connection copies the `-wal` into the file, and removes it.
    store.close().await;
    let head = checked?;
    let wal = beside(copy, "-wal");
    if size(&wal).map_err(failed(&wal))? > 0 {
        return Err(SqliteFileError::Leftover { path: copy.to_owned(), leftover: wal });
    }
    Ok(head)
}

/// Gives the database file and its logs other names in addition, which they keep. So at every moment, one set of names
/// is complete.
fn keep_files(path: &Path) -> Result<Option<PathBuf>, SqliteFileError> {
    let present: Vec<_> = ["", LOGS[0], LOGS[1]].into_iter().filter(|ending| exists(&beside(path, ending))).collect();
    let is_free = |name: &PathBuf| FILES.iter().all(|ending| !exists(&beside(name, ending)));
    let to = (1..=u32::MAX).map(|number| beside(path, &format!(".replaced-{number}"))).find(is_free);
    let Some(to) = to.filter(|_| !present.is_empty()) else { return Ok(None) };
    for ending in present {
        let name = beside(&to, ending);
        std::fs::hard_link(beside(path, ending), &name).map_err(failed(&name))?;
    }
    sync_folder(path).map_err(failed(path))?;
    Ok(Some(to))
}

/// Copies the content of a file into a new one, which only its owner may read and write.
fn copy(from: &Path, to: &Path) -> Result<(), SqliteFileError> {
    let mut source = File::open(from).map_err(failed(from))?;
    let mut target = create(to)?;
    io::copy(&mut source, &mut target).map(drop).map_err(failed(to))
}

/// Returns the error about a file that another program may have made in the meantime.
fn unless_exists(path: &Path) -> impl FnOnce(io::Error) -> SqliteFileError {
    move |error| match error.kind() {
        io::ErrorKind::AlreadyExists => SqliteFileError::Exists { path: path.to_owned() },
        _ => failed(path)(error),
    }
}

/// Makes a file that only its owner may read and write.
fn create(path: &Path) -> Result<File, SqliteFileError> {
    File::options().write(true).create_new(true).mode(0o600).open(path).map_err(unless_exists(path))
}

/// Whether there is such a name, also if it is a symbolic link that leads nowhere.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Removes a database file that is not in use, with its logs.
fn remove_database(path: &Path) -> Result<(), SqliteFileError> {
    FILES.iter().try_for_each(|ending| remove_if_present(&beside(path, ending)))
}

fn remove_if_present(path: &Path) -> Result<(), SqliteFileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}
