//! The sessions of a pool: what each begins with, and what it must pass before somebody else may have it.
//!
//! Work is given up half-way all the time: a caller goes away, a deadline passes. Its session goes back to the pool, and
//! neither driver leaves it as it was. One that was given up amid BEGIN has a transaction that the driver does not know
//! of: what the next one writes is acknowledged, and never committed. On MySQL, one that was given up while a statement
//! was prepared reads the answers to other questions than it asked. So each session is tried when it comes back, with a
//! time limit, and closed when it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
/// up by the database too; and a commit that is acknowledged only when it is durable, also where the server's default is
/// weaker, or becomes so. A stronger default is kept.
const POSTGRES_BEGINNING: &str = "SET statement_timeout = '5s'; SET idle_in_transaction_session_timeout = '10s'; \
     SET default_transaction_isolation = 'read committed'; \
     SELECT set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') = 'remote_apply' \
     THEN 'remote_apply' ELSE 'on' END, false)";

/// The same on MySQL and MariaDB, where each reads the comment that is meant for it: MySQL cannot end idle transactions,
/// only idle sessions, which the pool notices. Under REPEATABLE READ a change would read usage as it was when it began,
/// and MariaDB from 11.6 on would refuse to change a key whose usage was written since.
const MYSQL_BEGINNING: &str = "SET SESSION autocommit = 1, innodb_lock_wait_timeout = 5 \
     /*M! , idle_transaction_timeout = 10 */ /*!80000 , wait_timeout = 30 */; \
     SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// Whether a session on PostgreSQL cannot write: it is on a standby, or read-only by default.
const POSTGRES_IS_READ_ONLY: &str = "SELECT current_setting('transaction_read_only') = 'on'";

/// Whether a server of MySQL or MariaDB is read-only, as a number. It is a number itself, or since MariaDB 12 a word.
pub(crate) const MYSQL_SERVER_IS_READ_ONLY: &str = "CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF')";

/// Whether a session on MySQL or MariaDB cannot write. The variables of a session have different names.
const MYSQL_IS_READ_ONLY: &str = "SELECT CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF') \
     /*M! OR @@tx_read_only */ /*!80000 OR @@transaction_read_only */";

/// What is known of the sessions of a store.
#[derive(Debug, Default)]
pub(crate) struct SessionState {
    opened: AtomicU64,
    is_read_only: AtomicBool,
}

impl SessionState {
    /// How many sessions were opened so far.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// Whether the last session that was looked at was refused for being read-only.
    pub(crate) fn is_read_only(&self) -> bool {
        self.is_read_only.load(Ordering::Acquire)
    }

    /// Takes note of a session, and says whether it is accepted.
    ///
    /// A server that was the primary once keeps its sessions when it becomes a standby. What it shows lags behind what is
    /// committed elsewhere, so no session on it is used, not even for reading.
    fn accepts(&self, is_read_only: bool) -> bool {
        if self.is_read_only.swap(is_read_only, Ordering::AcqRel) != is_read_only {
            if is_read_only {
                tracing::warn!(
                    "database session refused: the server is read-only (a standby, or switched to read-only)"
                );
            } else {
                tracing::info!("the database accepts writes again");
            }
        }
        !is_read_only
    }

    /// Counts a new session and refuses it when it is read-only. The pool logs nothing of what it gets here, so a session
    /// that cannot be set up is logged as well.
    fn accept_new(&self, is_read_only: Result<bool, Error>) -> Result<(), Error> {
        self.opened.fetch_add(1, Ordering::AcqRel);
        match is_read_only {
            Ok(is_read_only) if self.accepts(is_read_only) => Ok(()),
            Ok(_) => Err(Error::Protocol("the server is read-only".into())),
            Err(error) => {
                tracing::warn!(%error, "cannot set up a database session");
                Err(error)
            }
        }
    }
}

/// How many connections a pool keeps open. A change that finds none open waits for one, and so does the removal of a silent
/// replica, for which there is little time.
const CONNECTIONS_OPEN: u32 = 4;

/// Who uses the sessions of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolMode {
    /// Many, in turn, any of whom may give its work up half-way: so many sessions at most, each of them tried when it is
    /// taken and when it comes back.
    Pool(u32),
    /// One, who throws the store away when anything has failed: one session, which is not tried, and not replaced however
    /// old it grows. That spares two round trips with every statement.
    One,
}

/// How to connect to `url`. `state` knows of the sessions to a database server; those to a file are all alike.
pub(crate) fn options(url: &str, sharing: PoolMode, state: &Arc<SessionState>) -> ConnectOptions {
    let (connections, is_shared) = match sharing {
        PoolMode::Pool(connections) => (connections, true),
        PoolMode::One => (1, false),
    };
    let (postgres_state, mysql_state) = (Arc::clone(state), Arc::clone(state));
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(connections.min(CONNECTIONS_OPEN))
        // Sessions to a server are tested by a question of their own, below, in the same round trip.
        .test_before_acquire(is_shared && url.starts_with("sqlite"))
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
            let (opening, taking) = (Arc::clone(&postgres_state), Arc::clone(&postgres_state));
            let pool = pool.after_connect(move |session, _| {
                let state = Arc::clone(&opening);
                let begun = async move {
                    session.execute(POSTGRES_BEGINNING).await?;
                    session.fetch_one(POSTGRES_IS_READ_ONLY).await?.try_get(0)
                };
                Box::pin(async move { state.accept_new(begun.await) })
            });
            if !is_shared {
                return pool;
            }
            pool.before_acquire(move |session, _| {
                let state = Arc::clone(&taking);
                Box::pin(async move { Ok(state.accepts(session.fetch_one(POSTGRES_IS_READ_ONLY).await?.try_get(0)?)) })
            })
            .after_release(|session, _| Box::pin(in_time(end_transaction(session))))
        })
        .map_sqlx_sqlite_pool_opts(|pool| pool.after_release(|session, _| Box::pin(in_time(is_at_rest(session)))))
        .map_sqlx_mysql_pool_opts(move |pool| {
            let (opening, taking) = (Arc::clone(&mysql_state), Arc::clone(&mysql_state));
            let pool = pool.after_connect(move |session, _| {
                let state = Arc::clone(&opening);
                let begun = async move {
                    session.execute(MYSQL_BEGINNING).await?;
                    Ok(session.fetch_one(MYSQL_IS_READ_ONLY).await?.try_get::<i64, _>(0)? != 0)
                };
                Box::pin(async move { state.accept_new(begun.await) })
            });
            if !is_shared {
                return pool;
            }
            pool.before_acquire(move |session, _| {
                let state = Arc::clone(&taking);
                Box::pin(async move {
                    Ok(state.accepts(session.fetch_one(MYSQL_IS_READ_ONLY).await?.try_get::<i64, _>(0)? != 0))
                })
            })
            .after_release(|session, _| Box::pin(in_time(end_transaction_and_answer(session))))
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
