//! The checks of a database file before SQLite opens it, and the claim of the only server.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::error::{SqliteFileError, failed};
use super::header::{self, Content, Header};
use super::mark::{Mark, VALUES_MAX};
use super::paths::{beside, size, sync_folder};
use crate::error::StorageError;
use crate::exclusive_lock::{ExclusiveLock, ExclusiveLockError, LOCK_ENDING};

/// The byte of the database file that a server locks. SQLite locks the 512 bytes before it, which no page occupies.
const LOCK_BYTE: libc::off_t = 0x4000_0200;

/// Where a database file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It does not exist yet, or its first start is not complete.
    New,
    /// A server of this build served it last, at this place.
    Served,
    /// It was restored, moved or replaced, or an earlier build served it.
    Elsewhere,
}

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
    marks: Mutex<Marks>,
}

/// The marks of a file that is served.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The values that the header may have; empty before the first complete checkpoint.
    pub(super) values: Vec<u32>,
    /// The value of a checkpoint that did not reach the end.
    pub(super) next: Option<u32>,
    /// Whether the connections are being closed: the last one copies the `-wal` into the file.
    pub(super) is_closing: bool,
}

impl ClaimedFile {
    /// Claims the file, and makes an empty one if there is none and no `trace` of an earlier one exists.
    ///
    /// # Errors
    /// [`SqliteFileError`].
    pub fn claim(path: &Path, traces: &[PathBuf]) -> Result<&'static Self, SqliteFileError> {
        let path = resolved(path)?;
        let lock = lock_name(&path)?;
        let mark = Mark::read(lock.file()).map_err(failed(&path))?;
        let (file, mark) = open(&path, mark, &lock, traces)?;
        let metadata = file.metadata().map_err(failed(&path))?;
        check_names(&path, &metadata)?;
        lock_file(&path, &file)?;
        let content = header::read(&file).map_err(failed(&path))?;
        let (origin, mark) = judge(&path, content, metadata.len(), mark)?;
        mark.write(lock.file()).map_err(failed(&path))?;
        let values = if let Mark::Values(values) = mark { values } else { Vec::new() };
        let marks = Mutex::new(Marks { values, ..Marks::default() });
        Ok(Box::leak(Box::new(Self { path, file, lock, origin, marks })))
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

    /// Records that the authority exists: from now on, a missing file is a lost one.
    ///
    /// # Errors
    /// If the lock file cannot be written.
    pub fn complete_first_start(&self) -> Result<(), SqliteFileError> {
        if self.origin == Origin::New {
            Mark::Adopted.write(self.lock.file()).map_err(failed(&self.path))
        } else {
            Ok(())
        }
    }

    /// The size of the `-wal`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn wal_size(&self) -> Result<u64, SqliteFileError> {
        size(&beside(&self.path, "-wal"))
    }

    /// Checks that the path still leads to the claimed file, and that no other program has overwritten it. Returns
    /// whether another program has made a checkpoint: then the next checkpoint of the server is due.
    ///
    /// # Errors
    /// [`SqliteFileError::Replaced`]. The process must then end without closing its connections, since SQLite would
    /// write the `-wal` into the wrong file.
    pub fn check_unchanged(&self) -> Result<bool, SqliteFileError> {
        let replaced = |what| SqliteFileError::Replaced { path: self.path.clone(), what };
        let mine = self.file.metadata().map_err(failed(&self.path))?;
        match std::fs::metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) == (mine.dev(), mine.ino()) => {}
            Ok(_) => return Err(replaced("replaced")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(replaced("removed")),
            Err(error) => return Err(failed(&self.path)(error)),
        }
        // The lock on the values keeps a checkpoint of this process from changing the header in between.
        let marks = self.marks();
        match header::read(&self.file).map_err(failed(&self.path))? {
            Content::Database(header) if marks.may_be(header.user_version) => {
                Ok(!marks.values.is_empty() && !marks.values.contains(&header.user_version))
            }
            _ => Err(replaced("overwritten")),
        }
    }

    /// Prepares for the end of the connections: the last one copies the `-wal` into the file. There are no checkpoints
    /// from then on.
    ///
    /// # Errors
    /// If the lock file cannot be written.
    pub fn expect_close(&self) -> Result<(), SqliteFileError> {
        let with_running = {
            let mut marks = self.marks();
            marks.is_closing = true;
            marks.with_running()
        };
        self.set_values(with_running)
    }

    pub(super) fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the values that the header may have, durably. Without values, the file keeps the mark that it has.
    pub(super) fn set_values(&self, values: Vec<u32>) -> Result<(), SqliteFileError> {
        let mut marks = self.marks();
        if values.is_empty() {
            return Ok(());
        }
        // Each crash within a checkpoint leaves more possible values.
        let mark = if values.len() > VALUES_MAX { Mark::Adopted } else { Mark::Values(values.clone()) };
        mark.write(self.lock.file()).map_err(failed(&self.path))?;
        marks.values = values;
        Ok(())
    }
}

impl Marks {
    /// Whether the header can have the value, by a checkpoint of the server or of another program.
    fn may_be(&self, value: u32) -> bool {
        self.values.is_empty() || self.with_running().contains(&value)
    }

    /// The values, and those that the database has after them.
    pub(super) fn with_running(&self) -> Vec<u32> {
        self.values.iter().flat_map(|value| [*value, running(*value)]).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// The value of the database between two checkpoints, which is in the `-wal` only. Checkpoints have even values.
pub(super) fn running(value: u32) -> u32 {
    value | 1
}

/// Checks a database file for a program that is not the server of the file. A server that runs checks for itself.
///
/// # Errors
/// [`SqliteFileError`].
pub fn inspect(path: &Path) -> Result<(), SqliteFileError> {
    let path = resolved(path)?;
    let lock = match ExclusiveLock::shared_on(&path) {
        Err(ExclusiveLockError::Taken { .. }) => return Ok(()),
        lock => lock?,
    };
    let mark = lock.map_or(Ok(Mark::Unknown), |lock| Mark::read(lock.file())).map_err(failed(&path))?;
    let file = File::options().read(true).write(true).open(&path).map_err(failed(&path))?;
    let metadata = file.metadata().map_err(failed(&path))?;
    check_names(&path, &metadata)?;
    let content = header::read(&file).map_err(failed(&path))?;
    judge(&path, content, metadata.len(), mark).map(|_| ())
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
            sync_folder(path)?;
            Ok((made, Mark::New))
        }
        Err(_) if path.is_dir() => Err(SqliteFileError::NotAFile { path: path.to_owned() }),
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

/// Locks the file itself. The lock belongs to the open file, so it is independent of the locks of SQLite.
#[expect(clippy::cast_possible_truncation, reason = "the constants of libc are small, and the fields are shorter")]
fn lock_file(path: &Path, file: &File) -> Result<(), SqliteFileError> {
    let byte = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: LOCK_BYTE,
        l_len: 1,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&byte)) {
        Ok(_) => Ok(()),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => {
            Err(ExclusiveLockError::Taken { path: path.display().to_string() }.into())
        }
        Err(error) => Err(failed(path)(error.into())),
    }
}

/// Decides where a file comes from, and what the lock file says from now on.
fn judge(path: &Path, content: Content, bytes: u64, mark: Mark) -> Result<(Origin, Mark), SqliteFileError> {
    let damaged = |finding: &str| SqliteFileError::Damaged { path: path.to_owned(), finding: finding.to_owned() };
    let Header { user_version, bytes: bytes_expected } = match content {
        Content::Database(header) => header,
        Content::Empty if mark == Mark::New => return Ok((Origin::New, Mark::New)),
        Content::Empty => return Err(SqliteFileError::NoAuthority { path: path.to_owned() }),
        Content::Other => return Err(damaged("is not an SQLite database")),
    };
    let (wal, journal) = (beside(path, "-wal"), beside(path, "-journal"));
    let has_wal = size(&wal)? > 0;
    let is_complete = matches!(mark, Mark::Values(_)) || mark == Mark::Unknown;
    if is_complete && size(&journal)? > 0 {
        return Err(SqliteFileError::Leftover { path: path.to_owned(), leftover: journal });
    }
    if !has_wal && bytes_expected.is_some_and(|expected| bytes < expected) {
        return Err(damaged("is cut off"));
    }
    Ok(match mark {
        Mark::New => (Origin::New, Mark::New),
        Mark::Values(values) if has_wal && values.contains(&user_version) => (Origin::Served, Mark::Values(values)),
        Mark::Values(_) if has_wal => return Err(SqliteFileError::Leftover { path: path.to_owned(), leftover: wal }),
        // The last connection that closed has copied the `-wal` into the file. The value of a checkpoint alone would mean
        // that the `-wal` is lost, unless the server expected the close.
        Mark::Values(values) if is_closed(&values, user_version) => (Origin::Served, Mark::Values(vec![user_version])),
        Mark::Values(_) | Mark::Adopted | Mark::Unknown => (Origin::Elsewhere, Mark::Adopted),
    })
}

/// Whether a file without a `-wal` was closed, and has its end.
fn is_closed(values: &[u32], value: u32) -> bool {
    let is_running = value == running(value);
    values.iter().any(|known| running(*known) == running(value)) && (is_running || values.contains(&running(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_claim_by_whatever_name() {
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
