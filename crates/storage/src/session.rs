//! The sessions of a pool: how each is set up, and how it is reset and checked before it is reused.
//!
//! Work is often cancelled: a caller disconnects, a deadline passes. The session then returns to the pool in an
//! undefined state. If work was cancelled during BEGIN, the session has a transaction that the driver is unaware of:
//! the next write is acknowledged but never committed. On MySQL, if work was cancelled while a statement was prepared,
//! the session reads the results of an earlier statement. So each session is reset and checked when it is released,
//! with a timeout, and closed if the check fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::sqlx::mysql::MySqlPoolOptions;
use sea_orm::sqlx::postgres::PgPoolOptions;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{AssertSqlSafe, Connection, Error, Executor, MySqlConnection, PgConnection, Row, SqliteConnection};
use sea_orm::{ConnectOptions, DbBackend, DbErr, RuntimeErr};

use crate::error::StorageError;
use crate::server_options;

/// Maximum time that a call waits for a connection.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum duration of the reset of a released session.
const RESET_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum time that a statement waits for the lock of an SQLite file. It is shorter than the timeout of the statement,
/// so that the error names the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(4);
/// The same for a heartbeat. The only server of a file continues without the write, and the next heartbeat must begin
/// long before the lease ends.
const HEARTBEAT_LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// Number of rows that SQLite buffers for the reader. A snapshot of all keys reads this many at once.
const SQLITE_ROWS: usize = 1_000;

/// The setup of a session on PostgreSQL. Timeouts make the database release a lock whose holder is disconnected or
/// hangs. `synchronous_commit` makes the server acknowledge a commit only when it is durable, also if the server's
/// default is weaker or becomes weaker. A stronger default is kept.
const POSTGRES_SETUP: &str = "SET statement_timeout = '5s'; SET idle_in_transaction_session_timeout = '10s'; \
     SET default_transaction_isolation = 'read committed'; \
     SELECT set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') = 'remote_apply' \
     THEN 'remote_apply' ELSE 'on' END, false)";

/// The setup of a session on MySQL and MariaDB, each of which executes the comment for it. MySQL has no timeout for
/// idle transactions, only for idle sessions, which the pool detects. With REPEATABLE READ, a change would read the
/// usage as of its start, and MariaDB 11.6 or later would reject a change of a key whose usage was written since.
const MYSQL_SETUP: &str = "SET SESSION autocommit = 1, innodb_lock_wait_timeout = 5 \
     /*M! , idle_transaction_timeout = 10 */ /*!80000 , wait_timeout = 30 */; \
     SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// Whether a session on PostgreSQL is read-only: the server is a standby, or sessions are read-only by default.
macro_rules! postgres_is_read_only {
    () => {
        "current_setting('transaction_read_only') = 'on'"
    };
}

/// Whether a MySQL or MariaDB server is read-only, as a number. The variable is a number, or a word since MariaDB 12.
macro_rules! mysql_server_is_read_only {
    () => {
        "CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF')"
    };
}

const POSTGRES_IS_READ_ONLY: &str = concat!("SELECT ", postgres_is_read_only!());

/// Whether a session on MySQL or MariaDB is read-only. The names of the session variables differ.
const MYSQL_IS_READ_ONLY: &str = concat!(
    "SELECT ",
    mysql_server_is_read_only!(),
    " /*M! OR @@tx_read_only */ /*!80000 OR @@transaction_read_only */"
);

/// Whether the server is read-only, as an expression whose value is a number.
pub(crate) fn is_read_only_sql(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Postgres => concat!("CAST(", postgres_is_read_only!(), " AS INTEGER)::BIGINT"),
        DbBackend::MySql => mysql_server_is_read_only!(),
        _ => "0",
    }
}

/// The kind of database that a URL leads to, by its scheme.
pub(crate) fn backend_of(url: &str) -> Option<DbBackend> {
    match url.split_once(':')?.0 {
        "sqlite" => Some(DbBackend::Sqlite),
        "postgres" => Some(DbBackend::Postgres),
        "mysql" => Some(DbBackend::MySql),
        _ => None,
    }
}

/// The state that the sessions of a store share.
#[derive(Debug, Default)]
pub(crate) struct SessionState {
    opened: AtomicU64,
    /// Whether the last checked session was rejected as read-only.
    is_read_only: AtomicBool,
}

impl SessionState {
    /// Number of sessions opened so far.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// Replaces a pool timeout with its cause, if the sessions were rejected as read-only.
    pub(crate) fn explain(&self, error: StorageError) -> StorageError {
        if error.is_pool_timeout() && self.is_read_only.load(Ordering::Acquire) {
            StorageError::ReadOnly
        } else {
            error
        }
    }

    /// Records the check of a session, and returns whether the session is accepted.
    ///
    /// A former primary keeps its sessions when it becomes a standby. Its data lags behind commits on the new primary,
    /// so none of its sessions is used, not even for reads.
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

    /// Counts a new session and rejects it if it is read-only. The pool does not log errors of this callback, so they
    /// are logged here.
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

/// How many connections to an SQLite file a pool keeps open. A pool of a database server keeps all of them: a change
/// that finds none open waits for one, and the database may refuse it, since other clients may have taken its place.
const SQLITE_CONNECTIONS_OPEN: u32 = 4;

/// How the sessions of a store are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolMode {
    /// Many users, each of which may cancel its work: at most this number of sessions, each checked when it is acquired
    /// and when it is released.
    Pool(u32),
    /// One user that drops the store after any error: one session, which is neither checked nor replaced. This saves
    /// two round trips for each statement.
    One,
}

/// The options to connect to `url`. `state` applies to sessions on a database server; SQLite has no read-only servers.
pub(crate) fn options(url: &str, mode: PoolMode, state: &Arc<SessionState>) -> ConnectOptions {
    let (connections, is_shared) = match mode {
        PoolMode::Pool(connections) => (connections, true),
        PoolMode::One => (1, false),
    };
    let (postgres_state, mysql_state) = (Arc::clone(state), Arc::clone(state));
    let open = match backend_of(url) {
        Some(DbBackend::Sqlite) => connections.min(SQLITE_CONNECTIONS_OPEN),
        _ => connections,
    };
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(open)
        .idle_timeout(None)
        // Sessions on a server are checked by a query of `before_acquire`, in the same round trip.
        .test_before_acquire(is_shared && backend_of(url) == Some(DbBackend::Sqlite))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_timeout(ACQUIRE_TIMEOUT)
        // The driver logs statements without values, which is of no use to operators.
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_sqlite_opts(move |sqlite| sqlite_options(sqlite, mode))
        .map_sqlx_postgres_opts(server_options::postgres_with_address)
        .map_sqlx_mysql_opts(server_options::mysql_with_address)
        // sea-orm's own `after_connect` is called once for the whole pool; these are called for each session.
        .map_sqlx_postgres_pool_opts(move |pool| postgres_pool(pool, &postgres_state, is_shared))
        .map_sqlx_sqlite_pool_opts(|pool| {
            pool.after_release(|session, _| Box::pin(with_reset_timeout(has_no_transaction(session))))
        })
        .map_sqlx_mysql_pool_opts(move |pool| mysql_pool(pool, &mysql_state, is_shared));
    if !is_shared {
        // The driver must not replace the session: a read and the write that depends on it must use the same one.
        options.max_lifetime(None);
    }
    options
}

fn sqlite_options(sqlite: SqliteConnectOptions, mode: PoolMode) -> SqliteConnectOptions {
    let busy_timeout = if mode == PoolMode::One { HEARTBEAT_LOCK_TIMEOUT } else { LOCK_TIMEOUT };
    sqlite
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // The server makes the checkpoints; see `sqlite_file`.
        .pragma("wal_autocheckpoint", "0")
        // A `-wal` that has grown is cut off again at its next use.
        .pragma("journal_size_limit", "4194304")
        .foreign_keys(true)
        .busy_timeout(busy_timeout)
        .row_buffer_size(SQLITE_ROWS)
}

fn postgres_pool(pool: PgPoolOptions, state: &Arc<SessionState>, is_shared: bool) -> PgPoolOptions {
    let (on_connect, on_acquire) = (Arc::clone(state), Arc::clone(state));
    let pool = pool.after_connect(move |session, _| {
        let state = Arc::clone(&on_connect);
        let is_read_only = async move {
            session.execute(POSTGRES_SETUP).await?;
            session.fetch_one(POSTGRES_IS_READ_ONLY).await?.try_get(0)
        };
        Box::pin(async move { state.accept_new(is_read_only.await) })
    });
    if !is_shared {
        return pool;
    }
    pool.before_acquire(move |session, _| {
        let state = Arc::clone(&on_acquire);
        Box::pin(async move { Ok(state.accepts(session.fetch_one(POSTGRES_IS_READ_ONLY).await?.try_get(0)?)) })
    })
    .after_release(|session, _| Box::pin(with_reset_timeout(end_transaction(session))))
}

fn mysql_pool(pool: MySqlPoolOptions, state: &Arc<SessionState>, is_shared: bool) -> MySqlPoolOptions {
    let (on_connect, on_acquire) = (Arc::clone(state), Arc::clone(state));
    let pool = pool.after_connect(move |session, _| {
        let state = Arc::clone(&on_connect);
        let is_read_only = async move {
            session.execute(MYSQL_SETUP).await?;
            Ok(session.fetch_one(MYSQL_IS_READ_ONLY).await?.try_get::<i64, _>(0)? != 0)
        };
        Box::pin(async move { state.accept_new(is_read_only.await) })
    });
    if !is_shared {
        return pool;
    }
    pool.before_acquire(move |session, _| {
        let state = Arc::clone(&on_acquire);
        Box::pin(
            async move { Ok(state.accepts(session.fetch_one(MYSQL_IS_READ_ONLY).await?.try_get::<i64, _>(0)? != 0)) },
        )
    })
    .after_release(|session, _| Box::pin(with_reset_timeout(rollback_and_check(session))))
}

/// The error of a single attempt to connect to `url`, if it fails.
pub(crate) async fn connect_error(url: &str) -> Option<StorageError> {
    let connected = async {
        match backend_of(url) {
            Some(DbBackend::Postgres) => {
                PgConnection::connect_with(&server_options::postgres(url)?).await?.close().await
            }
            Some(DbBackend::MySql) => MySqlConnection::connect_with(&server_options::mysql(url)?).await?.close().await,
            _ => Ok(()),
        }
    };
    let late = |_| Err(Error::Io(std::io::ErrorKind::TimedOut.into()));
    let error = tokio::time::timeout(RESET_TIMEOUT, connected).await.unwrap_or_else(late).err()?;
    Some(DbErr::Conn(RuntimeErr::SqlxError(error.into())).into())
}

async fn with_reset_timeout(reset: impl Future<Output = Result<bool, Error>>) -> Result<bool, Error> {
    let late = |_| Err(Error::Protocol("the reset of a database session timed out".into()));
    tokio::time::timeout(RESET_TIMEOUT, reset).await.unwrap_or_else(late)
}

/// Rolls back a transaction that was left open. Without BEGIN, the database would log a warning for each session that
/// has no transaction, which is almost always the case.
async fn end_transaction(session: &mut PgConnection) -> Result<bool, Error> {
    session.execute("BEGIN; ROLLBACK").await.map(|_| true)
}

/// Rolls back, and checks that the session returns the result of this statement: a unique text.
async fn rollback_and_check(session: &mut MySqlConnection) -> Result<bool, Error> {
    static CHECKS: AtomicU64 = AtomicU64::new(0);
    let text = format!("trial {}", CHECKS.fetch_add(1, Ordering::Relaxed));
    let rows = session.fetch_all(AssertSqlSafe(format!("ROLLBACK; SELECT '{text}'"))).await?;
    match rows.as_slice() {
        [row] => Ok(row.try_get::<String, _>(0)? == text),
        _ => Ok(false),
    }
}

/// Whether the session has no open transaction. If SQLite rolls back by itself because the disk is full, the driver
/// still counts the transaction: the next BEGIN would be a savepoint, and its ROLLBACK would never release the lock.
async fn has_no_transaction(session: &mut SqliteConnection) -> Result<bool, Error> {
    // The answer follows the ROLLBACK that was sent when the transaction was dropped.
    session.ping().await?;
    Ok(!session.is_in_transaction())
}
