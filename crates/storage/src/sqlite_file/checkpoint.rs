//! Checkpoints of the server. SQLite's own are off, so that the mark changes with each one.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::claim::{ClaimedFile, running};
use super::error::SqliteFileError;
use crate::error::StorageError;
use crate::store::Store;
use crate::writer_queue::Urgency;

impl Store {
    /// Copies the `-wal` into the database file, and changes the mark to `random`. Returns false if a reader still needs
    /// the `-wal`, or if its end was not reached; call it again later.
    ///
    /// # Errors
    /// If the file cannot be written, or another process holds its lock. Nothing is lost then.
    pub async fn checkpoint(&self, file: &ClaimedFile, random: u32) -> Result<bool, SqliteFileError> {
        // SQLite reads the value as a signed number; checkpoints have even values.
        let (next, mut possible) = {
            let marks = file.marks();
            if marks.is_closing {
                return Ok(false);
            }
            (marks.next.unwrap_or(random & 0x7fff_fffe), marks.with_running())
        };
        if !possible.is_empty() {
            possible.push(next);
            file.set_values(possible)?;
        }
        file.marks().next = Some(next);
        // The long part comes first. Then no change of this server runs, so that the end is reached.
        self.copy_wal().await?;
        {
            let _turn = self.writers.own_turn(Urgency::Ordinary).await;
            self.set_user_version(next).await?;
            if !self.copy_wal().await? {
                return Ok(false);
            }
        }
        file.set_values(vec![next])?;
        file.marks().next = None;
        self.set_user_version(running(next)).await?;
        Ok(true)
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
