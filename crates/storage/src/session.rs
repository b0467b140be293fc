//! The sessions of a pool: what each begins with, and what it must pass before somebody else may have it.
//!
//! Work is given up half-way all the time: a caller goes away, a deadline passes. Its session goes back to the pool, and
//! neither driver leaves it as it was. One that was given up amid BEGIN has a transaction that the driver does not know
//! of: what the next one writes is acknowledged, and never committed. On MySQL, one that was given up while a statement
//! was prepared reads the answers to other questions than it asked. So each session is tried when it comes back, with a
//! time limit, and closed when it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{AssertSqlSafe, Connection, Error, Executor, MySqlConnection, PgConnection, Row, SqliteConnection};
use sea_orm::{ConnectOptions, DbErr, RuntimeErr};

use crate::error::StorageError;
use crate::store::STATEMENT_TIMEOUT;

/// How long a call waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a session that comes back may take to prove that it is in order.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// How many rows of SQLite lie ready for whoever reads them: a reading of all keys hands over as many at once.
const SQLITE_ROWS: usize = 1_000;

/// What each session on PostgreSQL begins with: limits, so that a lock whose holder was cut off, or fell silent, is given
/// up by the database too.
const POSTGRES_BEGINNING: &str = "SET statement_timeout = '5s'; SET idle_in_transaction_session_timeout = '10s'; \
     SET default_transaction_isolation = 'read committed'";

/// The same on MySQL and MariaDB, where each reads the comment that is meant for it: MySQL cannot end idle transactions,
/// only idle sessions, which the pool notices. Under REPEATABLE READ a change would read usage as it was when it began,
/// and MariaDB from 11.6 on would refuse to change a key whose usage was written since.
const MYSQL_BEGINNING: &str = "SET SESSION autocommit = 1, innodb_lock_wait_timeout = 5 \
     /*M! , idle_transaction_timeout = 10 */ /*!80000 , wait_timeout = 30 */; \
     SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// Who uses the sessions of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Many, in turn, any of whom may give its work up half-way: so many sessions at most, each of them tried when it is
    /// taken and when it comes back.
    Pool(u32),
    /// One, who throws the store away when anything has failed: one session, which is not tried, and not replaced however
    /// old it grows. That spares two round trips with every statement.
    One,
}

/// How to connect to `url`. `opened` counts the sessions to a database server; those to a file are all alike.
pub(crate) fn options(url: &str, sharing: Sharing, opened: &Arc<AtomicU64>) -> ConnectOptions {
    let (connections, is_shared) = match sharing {
        Sharing::Pool(connections) => (connections, true),
        Sharing::One => (1, false),
    };
    let (postgres_opened, mysql_opened) = (Arc::clone(opened), Arc::clone(opened));
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .test_before_acquire(is_shared)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_timeout(ACQUIRE_TIMEOUT)
        // Statements are logged with their values' places, never the values; they are of use to nobody but us.
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(STATEMENT_TIMEOUT)
                .row_buffer_size(SQLITE_ROWS)
        })
        // sea-orm's own `after_connect` is called once for the whole pool; these are for each session.
        .map_sqlx_postgres_pool_opts(move |pool| {
            let opened = Arc::clone(&postgres_opened);
            let pool = pool.after_connect(move |session, _| {
                opened.fetch_add(1, Ordering::AcqRel);
                Box::pin(async { session.execute(POSTGRES_BEGINNING).await.map(drop) })
            });
            if is_shared { pool.after_release(|session, _| Box::pin(in_time(end_transaction(session)))) } else { pool }
        })
        .map_sqlx_sqlite_pool_opts(|pool| pool.after_release(|session, _| Box::pin(in_time(is_at_rest(session)))))
        .map_sqlx_mysql_pool_opts(move |pool| {
            let opened = Arc::clone(&mysql_opened);
            let pool = pool.after_connect(move |session, _| {
                opened.fetch_add(1, Ordering::AcqRel);
                Box::pin(async { session.execute(MYSQL_BEGINNING).await.map(drop) })
            });
            if is_shared {
                pool.after_release(|session, _| Box::pin(in_time(end_transaction_and_answer(session))))
            } else {
                pool
            }
        });
    if !is_shared {
        // Neither driver may replace the one session: what was read in it, and is to be written in it, must not end up in two.
        options.max_lifetime(None).idle_timeout(None);
    }
    options
}

/// Why nobody connects to `url`, if one more try tells.
pub(crate) async fn why_not(url: &str) -> Option<StorageError> {
    let connected = async {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres") => PgConnection::connect(url).await?.close().await,
            Some("mysql") => MySqlConnection::connect(url).await?.close().await,
            _ => Ok(()),
        }
    };
    let late = |_| Err(Error::Io(std::io::ErrorKind::TimedOut.into()));
    let error = tokio::time::timeout(TRIAL_TIMEOUT, connected).await.unwrap_or_else(late).err()?;
    Some(DbErr::Conn(RuntimeErr::SqlxError(error.into())).into())
}

async fn in_time(trial: impl Future<Output = Result<bool, Error>>) -> Result<bool, Error> {
    let late = |_| Err(Error::Protocol("a session that was given up does not come to an end".into()));
    tokio::time::timeout(TRIAL_TIMEOUT, trial).await.unwrap_or_else(late)
}

/// Ends a transaction that was left open. A ROLLBACK alone would be warned of in the database's log wherever there is
/// none, which is nearly always.
async fn end_transaction(session: &mut PgConnection) -> Result<bool, Error> {
    session.execute("BEGIN; ROLLBACK").await.map(|_| true)
}

/// The same, and whether the session answers what it is asked: a text that it was never asked for before.
async fn end_transaction_and_answer(session: &mut MySqlConnection) -> Result<bool, Error> {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    let text = format!("trial {}", ASKED.fetch_add(1, Ordering::Relaxed));
    let rows = session.fetch_all(AssertSqlSafe(format!("ROLLBACK; SELECT '{text}'"))).await?;
    match rows.as_slice() {
        [row] => Ok(row.try_get::<String, _>(0)? == text),
        _ => Ok(false),
    }
}

/// Whether a transaction has come to its end. Where SQLite ends one by itself, for want of room, the driver goes on
/// counting it: the next BEGIN would be a savepoint, and its ROLLBACK would keep the lock on the database for ever.
async fn is_at_rest(session: &mut SqliteConnection) -> Result<bool, Error> {
    // Answered after the ROLLBACK that was sent when the transaction was given up.
    session.ping().await?;
    Ok(!session.is_in_transaction())
}
