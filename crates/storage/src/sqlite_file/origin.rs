//! Where a database file comes from, as its header, its lock file and the files beside it show.

use std::fs::File;
use std::path::Path;

use super::error::{SqliteFileError, failed};
use super::header::{self, Content, Header};
use super::mark::{Mark, running};
use crate::paths::{beside, size};

/// Where a database file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It does not exist yet, or its first start is not complete.
    New,
    /// A server of this build served it last, at this place.
    Served,
    /// It may have been restored, moved or replaced, or an earlier build served it, or its last server was killed within
    /// a checkpoint.
    Elsewhere,
}

/// Decides where a file comes from, and what the lock file says from now on.
pub(super) fn decide(path: &Path, file: &File, mark: Mark) -> Result<(Origin, Mark), SqliteFileError> {
    let content = header::read(file).map_err(failed(path))?;
    let bytes = file.metadata().map_err(failed(path))?.len();
    origin(path, content, bytes, mark)
}

fn origin(path: &Path, content: Content, bytes: u64, mark: Mark) -> Result<(Origin, Mark), SqliteFileError> {
    let damaged = |finding: &str| SqliteFileError::Damaged { path: path.to_owned(), finding: finding.to_owned() };
    let Header { user_version: value, bytes: bytes_expected, .. } = match content {
        Content::Database(header) => header,
        Content::Empty if mark == Mark::New => return Ok((Origin::New, Mark::New)),
        Content::Empty => return Err(SqliteFileError::NoAuthority { path: path.to_owned() }),
        Content::Other => return Err(damaged("is not an SQLite database")),
    };
    let is_present = |ending| {
        let log = beside(path, ending);
        size(&log).map(|size| size > 0).map_err(failed(&log))
    };
    let leftover = |ending| SqliteFileError::Leftover { path: path.to_owned(), leftover: beside(path, ending) };
    let has_wal = is_present("-wal")?;
    if !matches!(mark, Mark::New | Mark::Adopted) && is_present("-journal")? {
        return Err(leftover("-journal"));
    }
    if !has_wal && bytes_expected.is_some_and(|expected| bytes < expected) {
        return Err(damaged("is cut off"));
    }
    match mark {
        Mark::New => Ok((Origin::New, mark)),
        // A `-wal` beside it was written by a start that did not get to its first checkpoint, or is copied already.
        Mark::Closed(closed) if closed == value => Ok((Origin::Served, mark)),
        Mark::Served(served) if served == value && has_wal => Ok((Origin::Served, mark)),
        // Every checkpoint is followed by a transaction in the `-wal`, and no other connection removes the `-wal` without
        // copying it.
        Mark::Served(served) if served == value => {
            Err(SqliteFileError::WalLost { path: path.to_owned(), wal: beside(path, "-wal") })
        }
        Mark::Copying { from, to } if has_wal && [from, running(from), to].contains(&value) => {
            Ok((Origin::Elsewhere, Mark::Adopted))
        }
        Mark::Served(_) | Mark::Copying { .. } | Mark::Closed(_) if has_wal => Err(leftover("-wal")),
        _ => Ok((Origin::Elsewhere, Mark::Adopted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`origin`] says of a file with the value 8 in its header.
    fn decided(mark: Mark, has_wal: bool) -> Result<Origin, SqliteFileError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        if has_wal {
            std::fs::write(beside(&path, "-wal"), "frames").unwrap();
        }
        let content = Content::Database(Header { user_version: 8, bytes: None, is_wal: true });
        origin(&path, content, 4096, mark).map(|(origin, _)| origin)
    }

    #[test]
    fn only_the_value_of_the_lock_file_shows_that_a_wal_belongs_to_the_file() {
        let copying = |from, to| Mark::Copying { from, to };
        for mark in [Mark::Served(8), Mark::Closed(8)] {
            assert_eq!(decided(mark, true).unwrap(), Origin::Served);
        }
        // The values do not show which of the two it is, so the whole file is checked.
        for mark in [copying(8, 2), copying(2, 8), Mark::Adopted, Mark::Unknown] {
            assert_eq!(decided(mark, true).unwrap(), Origin::Elsewhere);
        }
        for mark in [Mark::Served(2), Mark::Served(9), Mark::Closed(2), copying(2, 4)] {
            assert!(matches!(decided(mark.clone(), true), Err(SqliteFileError::Leftover { .. })), "{mark:?}");
        }
    }

    #[test]
    fn a_file_without_a_wal_is_whole_only_if_it_was_closed() {
        assert_eq!(decided(Mark::Closed(8), false).unwrap(), Origin::Served);
        assert!(matches!(decided(Mark::Served(8), false), Err(SqliteFileError::WalLost { .. })));
        for mark in [Mark::Served(2), Mark::Closed(2), Mark::Copying { from: 8, to: 2 }, Mark::Adopted] {
            assert_eq!(decided(mark, false).unwrap(), Origin::Elsewhere);
        }
    }
}
