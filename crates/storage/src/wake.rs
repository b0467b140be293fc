//! Being told of changes at once, by PostgreSQL's LISTEN and NOTIFY. What is lost on this way costs time, never a change:
//! who is not told finds it when it next reads the log.

use sea_orm::sqlx::postgres::PgListener;
use sea_orm::{DbErr, RuntimeErr};

use crate::error::StorageError;

/// Where a commit tells of its revision.
pub(crate) const CHANNEL: &str = "key_authority_revision";

/// A session that listens for changes, and does nothing else.
#[derive(Debug)]
pub struct Listener(PgListener);

impl Listener {
    /// Connects to `url`, past any pooler that shares sessions: those cannot listen.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn connect(url: &str) -> Result<Self, StorageError> {
        let mut listener = PgListener::connect(url).await.map_err(lost)?;
        listener.listen(CHANNEL).await.map_err(lost)?;
        Ok(Self(listener))
    }

    /// Waits until something was committed.
    ///
    /// # Errors
    /// When the session was lost: changes may have been missed.
    pub async fn heard(&mut self) -> Result<(), StorageError> {
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
