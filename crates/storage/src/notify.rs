//! Commit notifications through PostgreSQL's LISTEN and NOTIFY. They are an optimization: a replica that misses one
//! finds the change at its next poll of the log.

use sea_orm::sqlx::postgres::{PgListener, PgPoolOptions};
use sea_orm::{DbErr, RuntimeErr};

use crate::error::StorageError;
use crate::server_options;
use crate::session::connect_error;
use crate::timeout::bounded;

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
    /// If the database cannot be reached, or does not answer within the timeout.
    pub async fn connect(url: &str) -> Result<Self, StorageError> {
        let listening = bounded(async {
            let options = server_options::postgres(url).map_err(lost)?;
            let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
            let pool = pool.connect_with(options).await.map_err(lost)?;
            let mut listener = PgListener::connect_with(&pool).await.map_err(lost)?;
            listener.ignore_pool_close_event(true);
            listener.listen(CHANNEL).await.map_err(lost)?;
            Ok(Self(listener))
        });
        match listening.await {
            // The driver retries a refused connection until the timeout, and then its error says nothing.
            Err(StorageError::TimedOut) => Err(connect_error(url).await.unwrap_or(StorageError::TimedOut)),
            listening => listening,
        }
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

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::timeout::STATEMENT_TIMEOUT;

    /// Accepts a session like PostgreSQL, answers each message with "ready", and does not answer LISTEN.
    fn serve(mut client: TcpStream) -> std::io::Result<()> {
        let mut buffer = [0; 4096];
        let mut answer: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
        loop {
            let length = client.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            if buffer[..length].windows(6).any(|bytes| bytes == b"LISTEN") {
                answer = b"";
            }
            client.write_all(answer)?;
            answer = answer.strip_prefix(b"R\0\0\0\x08\0\0\0\0").unwrap_or(answer);
        }
    }

    #[tokio::test]
    async fn a_listen_that_is_not_answered_times_out() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("postgres://user@{}/database?sslmode=disable", server.local_addr().unwrap());
        std::thread::spawn(move || {
            for client in server.incoming() {
                std::thread::spawn(move || serve(client?));
            }
        });
        let connected = tokio::time::timeout(2 * STATEMENT_TIMEOUT, CommitNotifications::connect(&url));
        assert!(matches!(connected.await, Ok(Err(StorageError::TimedOut))));
    }

    #[tokio::test]
    async fn a_refused_connection_is_named() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("postgres://user@127.0.0.1:{port}/database");
        let connected =
            tokio::time::timeout(STATEMENT_TIMEOUT + Duration::from_secs(2), CommitNotifications::connect(&url));
        let error = connected.await.unwrap().unwrap_err();
        assert!(error.source().unwrap().to_string().contains("refused"), "{error:?}");
    }
}
