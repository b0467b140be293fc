//! The timeout of every access to the database.

use std::time::Duration;

use crate::error::StorageError;

/// Maximum duration of a statement, including the time that it waits for a lock.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Fails with [`StorageError::TimedOut`] if `work` takes longer than [`STATEMENT_TIMEOUT`]. A connection over a link
/// that silently drops packets returns no error by itself.
pub(crate) async fn bounded<T>(work: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
    match tokio::time::timeout(STATEMENT_TIMEOUT, work).await {
        Ok(result) => result,
        Err(_) => Err(StorageError::TimedOut),
    }
}
