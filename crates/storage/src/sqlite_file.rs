//! The file of an SQLite database, as it is found before SQLite opens it.
//!
//! SQLite takes the files that it finds for what they should be. It replays a `-wal` over any database file, also over
//! a restored one that the `-wal` does not belong to: the result is the old state, or a damaged file. It makes a new
//! database of a missing or empty file: a server on it would deny every key. So the server looks first, and refuses to
//! start with a message that says what to do.
//!
//! # Mark
//!
//! The file header has a number that SQLite leaves to the application (`user_version`). The server changes it with each
//! checkpoint, and writes the values that the header may have into its lock file (`.serving`):
//!
//! - t0: the lock file gets the value of the next checkpoint, beside the current ones.
//! - t1: a transaction sets the value. It is in the `-wal` only.
//! - t2: a checkpoint copies the `-wal` into the database file.
//! - t3: the lock file gets the new value alone.
//! - t4: a transaction sets another value, which stays in the `-wal` until the next t2.
//!
//! While there is a `-wal`, the file header thus has a value of the lock file. A copy that was made in any proper way,
//! by the backup API, by `VACUUM INTO` or of a stopped server, has a value of t4 or of an earlier checkpoint. If it is
//! put beside the `-wal`, the values differ.

mod checkpoint;
mod claim;
mod copy;
mod error;
mod header;
mod integrity;
mod mark;
mod paths;

pub use claim::{ClaimedFile, Origin, inspect};
pub use copy::{Restored, back_up, restore};
pub use error::SqliteFileError;
