//! The changes that a restoration loses: those of the replaced database which the restored one does not have.

use std::path::Path;

use key_authority_domain::id::Revision;
use key_authority_domain::time::Timestamp;
use sea_orm::sqlx::sqlite::SqliteConnectOptions;
use sea_orm::sqlx::{ConnectOptions as _, Connection as _, Error, Row as _, SqliteConnection, query};

use crate::paths::{beside, size};

/// The end of a log, and where it leaves that of the restored database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The last revision that both logs have.
    pub common: Revision,
    /// The last revision of the replaced database.
    pub last: Revision,
    /// Its time.
    pub time: Timestamp,
}

/// Compares the replaced database, and its `-wal`, with the restored one, which has none and is not in use. None if one
/// of them cannot be read.
pub(super) async fn lost(replaced: &Path, restored: &Path) -> Option<Lost> {
    let read = SqliteConnectOptions::new().read_only(true);
    let both = async {
        let mut replaced = read.clone().filename(replaced).connect().await?;
        // Without this, SQLite would make files beside the restored one.
        let mut restored = read.immutable(true).filename(restored).connect().await?;
        let found = compare(&mut replaced, &mut restored).await;
        replaced.close().await?;
        restored.close().await?;
        found
    };
    let found = both.await.ok()?;
    // SQLite made them to read the database.
    let _ = std::fs::remove_file(beside(replaced, "-shm"));
    let wal = beside(replaced, "-wal");
    if size(&wal).is_ok_and(|bytes| bytes == 0) {
        let _ = std::fs::remove_file(wal);
    }
    Some(found)
}

async fn compare(replaced: &mut SqliteConnection, restored: &mut SqliteConnection) -> Result<Lost, Error> {
    let (last, time) = end(replaced).await?;
    let (mut common, mut above) = (0, last.min(end(restored).await?.0));
    // The hash of an event covers all events before it.
    while common < above {
        let middle = above - (above - common) / 2;
        if hash(replaced, middle).await? == hash(restored, middle).await? {
            common = middle;
        } else {
            above = middle - 1;
        }
    }
    Ok(Lost { common: Revision(common), last: Revision(last), time: Timestamp::from_micros(time) })
}

/// The last revision of a log, and its time.
async fn end(database: &mut SqliteConnection) -> Result<(i64, i64), Error> {
    let sql = "SELECT revision, event_time FROM audit_event ORDER BY revision DESC LIMIT 1";
    let row = query(sql).fetch_one(database).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

async fn hash(database: &mut SqliteConnection, revision: i64) -> Result<Vec<u8>, Error> {
    query("SELECT hash FROM audit_event WHERE revision = ?").bind(revision).fetch_one(database).await?.try_get(0)
}
