//! Checkpoints of the server. SQLite's own are off, so that the mark changes with each one.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::claim::ClaimedFile;
use super::error::SqliteFileError;
use super::mark::{Mark, running};
use crate::error::StorageError;
use crate::store::Store;
use crate::writer_queue::Urgency;

impl Store {
    /// Copies the `-wal` into the database file, and changes the mark to `random`. Returns false if a reader still needs
    /// the `-wal`, or if its end was not reached; call it again later.
    ///
    /// # Errors
    /// If the file cannot be written, or another process holds its lock. Nothing is lost then.
    pub async fn checkpoint(&self, file: &'static ClaimedFile, random: u32) -> Result<bool, SqliteFileError> {
        let Some(value) = self.copy_whole_wal(file, random).await? else { return Ok(false) };
        file.set_mark(Mark::Served(value)).await?;
        self.set_user_version(running(value)).await?;
        Ok(true)
    }

    /// Makes the last checkpoint. Then the last connection that closes removes the `-wal`. Returns false if that was not
    /// possible: the next start reads the `-wal`.
    ///
    /// # Errors
    /// As [`Store::checkpoint`], or [`SqliteFileError::Replaced`]. Nothing is lost then.
    pub async fn close_file(&self, file: &'static ClaimedFile, random: u32) -> Result<bool, SqliteFileError> {
        file.check_unchanged()?;
        // A first start that is not complete keeps its mark, with which the header may have any value.
        if file.mark() != Mark::New {
            let Some(value) = self.copy_whole_wal(file, random).await? else { return Ok(false) };
            file.set_mark(Mark::Closed(value)).await?;
        }
        file.copy_wal_at_close()?;
        Ok(true)
    }

    /// Copies the whole `-wal`, and returns the value that the header has then. The mark does not say so yet.
    async fn copy_whole_wal(&self, file: &'static ClaimedFile, random: u32) -> Result<Option<u32>, SqliteFileError> {
        let mark = file.mark();
        let next = match mark {
            // Of a checkpoint that did not reach the end.
            Mark::Copying { to, .. } => to,
            // SQLite reads the value as a signed number; checkpoints have even values.
            _ => random & 0x7fff_fffe,
        };
        if let Some(from) = mark.last() {
            file.set_mark(Mark::Copying { from, to: next }).await?;
        }
        // The long part comes first. Then no change of this server runs, so that the end is reached.
        self.copy_wal().await?;
        let _turn = self.writers.own_turn(Urgency::Ordinary).await;
        self.set_user_version(next).await?;
        Ok(self.copy_wal().await?.then_some(next))
    }

    async fn set_user_version(&self, value: u32) -> Result<(), StorageError> {
        Ok(self.db.execute_unprepared(&format!("PRAGMA user_version = {value}")).await.map(|_| ())?)
    }

    /// Copies as much as readers permit, and returns whether that was everything.
    async fn copy_wal(&self) -> Result<bool, StorageError> {
        let statement = Statement::from_string(DbBackend::Sqlite, "PRAGMA wal_checkpoint(PASSIVE)");
        let Some(row) = self.db.query_one_raw(statement).await? else { return Ok(false) };
        let [is_busy, in_wal, copied] = ["busy", "log", "checkpointed"].map(|column| row.try_get::<i64>("", column));
        Ok(is_busy? == 0 && in_wal? == copied?)
    }
}
