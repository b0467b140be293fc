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
//! checkpoint, and writes the values that the header may have into its lock file (`.serving`), as `mark::Mark`:
//!
//! - t0: the lock file says that a checkpoint from the value `v` to the value `w` runs.
//! - t1: a transaction sets `w`. It is in the `-wal` only.
//! - t2: the checkpoint copies the `-wal` into the database file.
//! - t3: the lock file says that the header has `w`.
//! - t4: a transaction sets a value that no checkpoint has. It stays in the `-wal` until the next t2.
//!
//! While there is a `-wal`, the file header thus has the value of the lock file. A copy that was made in any proper way,
//! by the backup API or by `VACUUM INTO`, has a value of t4 or of an earlier checkpoint. If it is put beside the `-wal`,
//! the values differ. From t0 to t3, the values may be the same; then the file is checked as a whole.
//!
//! At the shutdown there is no t4. The lock file says that the file is closed: all changes are in it.
//!
//! # The last connection
//!
//! SQLite copies the `-wal` into the file when the last connection closes, if it can lock the file exclusively. Then the
//! header would have the value of t4. The connections of a process that fails are closed by threads that the process
//! does not wait for, so the file may be left in any state in between. Therefore the server and its subcommands hold a
//! shared lock on the file, so that only a shutdown that has completed t3 lets SQLite remove the `-wal`.

mod checkpoint;
mod claim;
mod copy;
mod error;
mod header;
mod integrity;
mod locks;
mod lost;
mod mark;
mod origin;

pub use claim::{ClaimedFile, inspect};
pub use copy::{Replaced, Restored, back_up, restore};
pub use error::SqliteFileError;
pub use lost::Lost;
pub use origin::Origin;
