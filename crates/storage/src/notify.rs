//! Commit notifications through PostgreSQL's LISTEN and NOTIFY. They are an optimization: a replica that misses one
//! finds the change at its next poll of the log.

use sea_orm::sqlx::postgres::PgListener;
use sea_orm::{DbErr, RuntimeErr};

use crate::error::StorageError;

/// The channel on which each commit sends its revision.
pub(crate) const CHANNEL: &str = "key_authority_revision";

/// A dedicated session that receives a notification for each commit.
#[derive(Debug)]
pub struct CommitNotifications(PgListener);

impl CommitNotifications {
    /// Connects to `url`. It must not lead to a connection pooler that shares sessions, because LISTEN needs its own
    /// session.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub async fn connect(url: &str) -> Result<Self, StorageError> {
        let mut listener = PgListener::connect(url).await.map_err(lost)?;
        listener.listen(CHANNEL).await.map_err(lost)?;
        Ok(Self(listener))
    }

    /// Waits for the next commit.
    ///
    /// # Errors
    /// If the connection is lost: notifications may have been missed.
    pub async fn recv(&mut self) -> Result<(), StorageError> {
        self.0.eager_reconnect(false);
        match self.0.try_recv().await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(lost(sea_orm::sqlx::Error::PoolClosed)),
            Err(error) => Err(lost(error)),
        }
    }
}

fn lost(error: sea_orm::sqlx::Error) -> StorageError {
    StorageError::Unavailable(DbErr::Conn(RuntimeErr::SqlxError(error.into())).into())
}
