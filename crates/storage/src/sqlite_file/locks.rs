//! Locks of the operating system on a database file. They belong to an open file, so they are independent of the locks
//! of SQLite, which belong to the process.

use std::fs::File;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::error::{SqliteFileError, failed};
use crate::exclusive_lock::ExclusiveLockError;

/// The first of the bytes that SQLite locks for writing before the last connection that closes copies the `-wal` into
/// the file. In WAL mode, connections lock them for reading only. <https://www.sqlite.org/src/file/src/os.h>
const SHARED_BYTE: libc::off_t = 0x4000_0002;
/// The byte that a server locks. SQLite locks the 512 bytes before it, which no page occupies.
const SERVER_BYTE: libc::off_t = 0x4000_0200;

/// Locks the file for the only server.
pub(super) fn lock_for_server(path: &Path, file: &File) -> Result<(), SqliteFileError> {
    lock(path, file, libc::F_WRLCK, SERVER_BYTE)
}

/// Lets no connection of any process copy the `-wal` when it closes. The mode of the database must be WAL already.
pub(super) fn keep_wal_at_close(path: &Path, file: &File) -> Result<(), SqliteFileError> {
    lock(path, file, libc::F_RDLCK, SHARED_BYTE)
}

/// Ends [`keep_wal_at_close`].
pub(super) fn copy_wal_at_close(path: &Path, file: &File) -> Result<(), SqliteFileError> {
    lock(path, file, libc::F_UNLCK, SHARED_BYTE)
}

#[expect(clippy::cast_possible_truncation, reason = "the constants of libc are small, and the fields are shorter")]
fn lock(path: &Path, file: &File, kind: libc::c_int, byte: libc::off_t) -> Result<(), SqliteFileError> {
    let byte = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
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
