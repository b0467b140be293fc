//! The claim of the only server on a database file, before SQLite opens it.

use std::fs::{File, Metadata};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::error::{SqliteFileError, failed};
use super::header::{self, Content};
use super::locks;
use super::mark::{Mark, running};
use super::origin::{Origin, decide};
use crate::error::StorageError;
use crate::exclusive_lock::{ExclusiveLock, ExclusiveLockError, LOCK_ENDING};
use crate::paths::{beside, size, sync_folder};

/// A database file that this process alone serves.
///
/// The operating system knows the lock by the file itself, not by its name, so it also excludes servers that reach the
/// file by another name. A claim lasts as long as the process: if a process closes a file, the operating system releases
/// all locks that SQLite has on it.
#[derive(Debug)]
pub struct ClaimedFile {
    path: PathBuf,
    file: File,
    lock: ExclusiveLock,
    origin: Origin,
    /// What the lock file says.
    mark: Mutex<Mark>,
}

impl ClaimedFile {
    /// Claims the file, and makes an empty one if there is none and no `trace` of an earlier one exists. The connections
    /// of this process may be closed at any time: only [`Store::close_file`](crate::Store::close_file) lets SQLite
    /// remove the `-wal`.
    ///
    /// # Errors
    /// [`SqliteFileError`].
    pub fn claim(path: &Path, traces: &[PathBuf]) -> Result<&'static Self, SqliteFileError> {
        let path = resolved(path)?;
        if path.is_dir() {
            return Err(SqliteFileError::NotAFile { path });
        }
        let lock = lock_name(&path)?;
        let mark = Mark::read(lock.file()).map_err(failed(&path))?;
        let (file, mark) = open(&path, mark, &lock, traces)?;
        check_names(&path, &file.metadata().map_err(failed(&path))?)?;
        locks::lock_for_server(&path, &file)?;
        keep_wal_at_close(&path, &file)?;
        let (origin, mark) = decide(&path, &file, mark)?;
        mark.write(lock.file()).map_err(failed(&path))?;
        Ok(Box::leak(Box::new(Self { path, file, lock, origin, mark: Mutex::new(mark) })))
    }

    /// Where the file comes from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The file, without symbolic links in its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The proof that no other server serves the file.
    #[must_use]
    pub fn lock(&self) -> &ExclusiveLock {
        &self.lock
    }

    /// Lets no connection copy the `-wal` when it closes. A claim does so by itself if the file is in WAL mode; call this
    /// after SQLite has put it into that mode.
    ///
    /// # Errors
    /// If the file cannot be locked.
    pub fn keep_wal_at_close(&self) -> Result<(), SqliteFileError> {
        locks::keep_wal_at_close(&self.path, &self.file)
    }

    pub(super) fn copy_wal_at_close(&self) -> Result<(), SqliteFileError> {
        locks::copy_wal_at_close(&self.path, &self.file)
    }

    /// Records that the authority exists: from now on, a missing file is a lost one.
    ///
    /// # Errors
    /// If the lock file cannot be written.
    pub async fn complete_first_start(&'static self) -> Result<(), SqliteFileError> {
        if self.mark() == Mark::New { self.set_mark(Mark::Adopted).await } else { Ok(()) }
    }

    /// The size of the `-wal`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn wal_size(&self) -> Result<u64, SqliteFileError> {
        let wal = beside(&self.path, "-wal");
        size(&wal).map_err(failed(&wal))
    }

    /// Checks that the path still leads to the claimed file, and that no other program has overwritten it. Returns
    /// whether another program has made a checkpoint: then the next checkpoint of the server is due. Call it between
    /// checkpoints, not within one.
    ///
    /// # Errors
    /// [`SqliteFileError::Replaced`].
    pub fn check_unchanged(&self) -> Result<bool, SqliteFileError> {
        let replaced = |what| SqliteFileError::Replaced { path: self.path.clone(), what };
        let mine = self.file.metadata().map_err(failed(&self.path))?;
        match std::fs::metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) == (mine.dev(), mine.ino()) => {}
            Ok(_) => return Err(replaced("replaced")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(replaced("removed")),
            Err(error) => return Err(failed(&self.path)(error)),
        }
        let Content::Database(header) = header::read(&self.file).map_err(failed(&self.path))? else {
            return Err(replaced("overwritten"));
        };
        let (value, mark) = (header.user_version, self.mark());
        match mark.last() {
            Some(last) if value == running(last) => Ok(true),
            Some(last) if value != last && !matches!(mark, Mark::Copying { to, .. } if to == value) => {
                Err(replaced("overwritten"))
            }
            _ => Ok(false),
        }
    }

    /// What the lock file says.
    pub(super) fn mark(&self) -> Mark {
        self.marked().clone()
    }

    /// Replaces the content of the lock file, durably.
    pub(super) async fn set_mark(&'static self, mark: Mark) -> Result<(), SqliteFileError> {
        let write = move || {
            mark.write(self.lock.file())?;
            *self.marked() = mark;
            Ok(())
        };
        let written = tokio::task::spawn_blocking(write).await.unwrap_or_else(|error| Err(error.into()));
        written.map_err(failed(&beside(&self.path, LOCK_ENDING)))
    }

    fn marked(&self) -> MutexGuard<'_, Mark> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks a database file for a program that is not the server of the file. A server that runs checks for itself. For
/// the rest of the process, no connection copies the `-wal` when it closes.
///
/// # Errors
/// [`SqliteFileError`].
pub fn inspect(path: &Path) -> Result<(), SqliteFileError> {
    let path = resolved(path)?;
    let file = File::options().read(true).write(true).open(&path).map_err(failed(&path))?;
    check_names(&path, &file.metadata().map_err(failed(&path))?)?;
    keep_wal_at_close(&path, &file)?;
    match ExclusiveLock::shared_on(&path) {
        Err(ExclusiveLockError::Taken { .. }) => {}
        lock => {
            // It is held until the origin of the file is known, so that no server begins to change the file.
            let lock = lock?;
            let mark = lock.as_ref().map_or(Ok(Mark::Unknown), |lock| Mark::read(lock.file()));
            decide(&path, &file, mark.map_err(failed(&path))?)?;
        }
    }
    Box::leak(Box::new(file));
    Ok(())
}

/// Lets no connection copy the `-wal` when it closes, if the file is in WAL mode.
fn keep_wal_at_close(path: &Path, file: &File) -> Result<(), SqliteFileError> {
    if header::read(file).map_err(failed(path))?.is_wal() { locks::keep_wal_at_close(path, file) } else { Ok(()) }
}

/// Takes the lock that excludes servers of the same name, also of earlier builds.
pub(super) fn lock_name(path: &Path) -> Result<ExclusiveLock, SqliteFileError> {
    ExclusiveLock::on(path).map_err(|error| match error {
        ExclusiveLockError::Storage(StorageError::File(source)) => failed(&beside(path, LOCK_ENDING))(source),
        error => error.into(),
    })
}

/// The path without symbolic links, as SQLite uses it for the files beside the database.
fn resolved(path: &Path) -> Result<PathBuf, SqliteFileError> {
    if path.symlink_metadata().is_ok() {
        return path.canonicalize().map_err(failed(path));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(failed(folder))?;
    Ok(folder.join(path.file_name().unwrap_or_default()))
}

/// Opens the file. A missing file is made, unless something shows that it existed. Returns the mark as well, which
/// changes then.
fn open(path: &Path, mark: Mark, lock: &ExclusiveLock, traces: &[PathBuf]) -> Result<(File, Mark), SqliteFileError> {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if mark != Mark::New {
                if let Some(trace) = trace_of(path, &mark, traces) {
                    return Err(SqliteFileError::Lost { path: path.to_owned(), trace });
                }
                Mark::New.write(lock.file()).map_err(failed(path))?;
            }
            let made = options.create_new(true).open(path).map_err(failed(path))?;
            sync_folder(path).map_err(failed(path))?;
            Ok((made, Mark::New))
        }
        opened => Ok((opened.map_err(failed(path))?, mark)),
    }
}

/// What shows that a missing file existed.
fn trace_of(path: &Path, mark: &Mark, traces: &[PathBuf]) -> Option<PathBuf> {
    let wal = [beside(path, "-wal"), beside(path, "-journal")];
    let marked = (*mark != Mark::Unknown).then(|| beside(path, LOCK_ENDING));
    wal.into_iter().chain(traces.iter().cloned()).find(|trace| trace.exists()).or(marked)
}

/// The `-wal` is beside the name by which the file was opened, so the file must have one name, in its own folder.
fn check_names(path: &Path, metadata: &Metadata) -> Result<(), SqliteFileError> {
    if !metadata.is_file() {
        return Err(SqliteFileError::NotAFile { path: path.to_owned() });
    }
    if metadata.nlink() > 1 {
        return Err(SqliteFileError::HardLinks { path: path.to_owned(), names: metadata.nlink() });
    }
    let mount = |path: &Path| {
        let found = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
        // Kernels before 5.8 do not say.
        StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID).then_some(found.stx_mnt_id)
    };
    match (mount(path), path.parent().and_then(mount)) {
        (Some(file), Some(folder)) if file != folder => Err(SqliteFileError::MountedAlone { path: path.to_owned() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_claim_under_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        let claimed = ClaimedFile::claim(&path, &[]).unwrap();
        assert_eq!(claimed.origin(), Origin::New);
        let taken = |path: &Path| matches!(ClaimedFile::claim(path, &[]), Err(SqliteFileError::Taken(_)));
        assert!(taken(&path));
        let renamed = folder.path().join("renamed.db");
        std::fs::rename(&path, &renamed).unwrap();
        Mark::New.write(lock_name(&renamed).unwrap().file()).unwrap();
        assert!(taken(&renamed), "the lock is on the file, not on its name");
        assert!(matches!(claimed.check_unchanged(), Err(SqliteFileError::Replaced { what: "removed", .. })));
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named_with_the_cause() {
        // Nobody can make files here, not even root.
        let error = ClaimedFile::claim(Path::new("/proc/keys.db"), &[]).unwrap_err();
        assert!(matches!(&error, SqliteFileError::File { path, .. } if path.starts_with("/proc")), "{error}");
    }

    #[test]
    fn a_missing_file_with_a_trace_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "").unwrap();
        for trace in [secret, beside(&path, "-wal"), beside(&path, "-journal")] {
            std::fs::write(&trace, "").unwrap();
            let lost = ClaimedFile::claim(&path, std::slice::from_ref(&trace)).unwrap_err();
            assert!(matches!(&lost, SqliteFileError::Lost { trace: found, .. } if *found == trace), "{lost}");
            std::fs::remove_file(&trace).unwrap();
            assert!(!path.exists());
        }
    }
}
