//! The connection pool: the kind of the database, its clock, and the queue of writers.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::StorageError;
use crate::session::{self, PoolMode, SessionState, backend_of};
use crate::timeout::bounded;
use crate::writer_queue::WriterQueue;
use key_authority_domain::secret::Keyring;
use key_authority_domain::time::Timestamp;
use sea_orm::sea_query::{Expr, SimpleExpr};
use sea_orm::sqlx::mysql::MySqlConnectOptions;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::SqliteConnectOptions;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, FromQueryResult, Statement};

/// The kind of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageKind {
    /// SQLite, the embedded default.
    Sqlite,
    /// PostgreSQL 13 or later.
    Postgres,
    /// MySQL 8 or later.
    MySql,
    /// MariaDB 10.6 or later.
    MariaDb,
}

impl fmt::Display for StorageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        })
    }
}

/// How often a connection that the database refused because it has too many is tried again.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_millis(100);
const RETRIES: u32 = 20;

/// A pool of connections to the database. Clones share the pool.
#[derive(Clone)]
pub struct Store {
    pub(crate) db: DatabaseConnection,
    pub(crate) keyring: Arc<Keyring>,
    kind: StorageKind,
    sessions: Arc<SessionState>,
    statements: Arc<AtomicU64>,
    pub(crate) writers: WriterQueue,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Store {
    /// Connects to `url` with at most `connections` connections: `sqlite://<path>`, `postgres://…` or `mysql://…`.
    ///
    /// # Errors
    /// If the database cannot be reached or opened.
    pub async fn connect(url: &str, connections: u32, keyring: Arc<Keyring>) -> Result<Self, StorageError> {
        let connect = async || Self::connect_as(url, PoolMode::Pool(connections), Arc::clone(&keyring)).await;
        if backend_of(url) == Some(DbBackend::MySql) {
            // A session that this process closed may still count. The pool of PostgreSQL retries by itself.
            for _ in 0..RETRIES {
                match connect().await {
                    Err(StorageError::TooManyConnections(_)) => tokio::time::sleep(RETRY_INTERVAL).await,
                    connected => return connected,
                }
            }
        }
        connect().await
    }

    /// Connects with one connection, for a single user that runs operations in sequence and cancels none. After any
    /// error the store must be dropped. A statement takes one round trip instead of three.
    ///
    /// # Errors
    /// If the database cannot be reached or opened.
    pub async fn connect_one(url: &str, keyring: Arc<Keyring>) -> Result<Self, StorageError> {
        Self::connect_as(url, PoolMode::One, keyring).await
    }

    /// Opens the SQLite file at `path` with one connection.
    pub(crate) async fn open_file(path: &Path, keyring: Arc<Keyring>) -> Result<Self, StorageError> {
        Self::connect_as(&url_of_file(path), PoolMode::One, keyring).await
    }

    async fn connect_as(url: &str, mode: PoolMode, keyring: Arc<Keyring>) -> Result<Self, StorageError> {
        let sessions: Arc<SessionState> = Arc::default();
        let connected = Database::connect(session::options(url, mode, &sessions)).await;
        let db = match connected.map_err(|error| sessions.explain(error.into())) {
            // The pool retries until its timeout, and then reports only the timeout.
            Err(late) if late.is_pool_timeout() => return Err(session::connect_error(url).await.unwrap_or(late)),
            connected => connected?,
        };
        let kind = bounded(kind_of(&db)).await?;
        let mut store =
            Self { db, keyring, kind, sessions, statements: Arc::default(), writers: WriterQueue::default() };
        store.show_statements(|_| ());
        Ok(store)
    }

    /// Calls `see` with each statement and its values. For tests of the generated SQL.
    #[doc(hidden)]
    pub fn show_statements(&mut self, see: impl Fn(&Statement) + Send + Sync + 'static) {
        let counted = Arc::clone(&self.statements);
        self.db.set_metric_callback(move |execution| {
            counted.fetch_add(1, Ordering::Relaxed);
            see(execution.statement);
        });
    }

    /// The kind of the database.
    #[must_use]
    pub fn kind(&self) -> StorageKind {
        self.kind
    }

    /// Number of statements that the pool has executed.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Number of sessions that the pool has opened. In a pool of one, all reads and writes between two equal numbers
    /// used the same server, even if the host name resolves to several.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.sessions.opened()
    }

    /// Number of changes of this process that wait in the queue: ending ones, which have priority, and ordinary ones.
    #[must_use]
    pub fn waiting_changes(&self) -> (usize, usize) {
        self.writers.waiting()
    }

    /// The derived keys of the authority secret.
    #[must_use]
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// Reads the database's clock. A result proves that the database is reachable.
    ///
    /// # Errors
    /// If the database did not answer.
    pub async fn now(&self) -> Result<Timestamp, StorageError> {
        bounded(async {
            let sql = format!("SELECT {} AS now", now_sql(self.db.get_database_backend()));
            let row = self.db.query_one_raw(Statement::from_string(self.db.get_database_backend(), sql)).await?;
            let micros = row.map(|row| row.try_get("", "now")).transpose()?;
            micros.map(Timestamp::from_micros).ok_or(StorageError::corrupt("authority", "now", ""))
        })
        .await
    }

    /// Closes all connections.
    pub async fn close(&self) {
        if let Err(error) = self.db.clone().close().await {
            tracing::debug!(error = %error, "cannot close the connection pool cleanly");
        }
    }

    /// Replaces a pool timeout with its cause, if the sessions were rejected as read-only.
    pub(crate) fn explained(&self, error: StorageError) -> StorageError {
        self.sessions.explain(error)
    }
}

/// Whether the driver can parse the URL. The driver's error is dropped because it may contain the password.
#[must_use]
pub fn is_url(url: &str) -> bool {
    match backend_of(url) {
        Some(DbBackend::Sqlite) => url.parse::<SqliteConnectOptions>().is_ok(),
        Some(DbBackend::Postgres) => url.parse::<PgConnectOptions>().is_ok(),
        Some(DbBackend::MySql) => url.parse::<MySqlConnectOptions>().is_ok(),
        _ => false,
    }
}

/// Whether a URL names a database, instead of leaving the choice to the server. A file is a database.
#[must_use]
pub fn names_database(url: &str) -> bool {
    match backend_of(url) {
        Some(DbBackend::Postgres) => url.parse().is_ok_and(|url: PgConnectOptions| url.get_database().is_some()),
        Some(DbBackend::MySql) => url.parse().is_ok_and(|url: MySqlConnectOptions| url.get_database().is_some()),
        _ => true,
    }
}

/// The URL of an SQLite file that is created if it does not exist.
#[must_use]
pub fn url_of_file(path: &Path) -> String {
    // Other characters would end or alter the path of a URL, or begin a port, a user or an address.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte);
    let encoded = path.as_os_str().as_encoded_bytes().iter().map(|&byte| match byte {
        byte if is_plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    format!("sqlite://{}?mode=rwc", encoded.collect::<String>())
}

/// The file of an SQLite database. None for other URLs.
#[must_use]
pub fn file_of(url: &str) -> Option<PathBuf> {
    let is_file = backend_of(url) == Some(DbBackend::Sqlite);
    let url: SqliteConnectOptions = is_file.then(|| url.parse().ok()).flatten()?;
    Some(url.get_filename().to_owned())
}

async fn kind_of(db: &DatabaseConnection) -> Result<StorageKind, StorageError> {
    #[derive(FromQueryResult)]
    struct Version {
        version: String,
    }
    let backend = db.get_database_backend();
    match backend {
        DbBackend::Sqlite => Ok(StorageKind::Sqlite),
        DbBackend::Postgres => Ok(StorageKind::Postgres),
        _ => {
            let statement = Statement::from_string(backend, "SELECT VERSION() AS version");
            let version = Version::find_by_statement(statement).one(db).await?;
            let is_maria = version.is_some_and(|row| row.version.contains("MariaDB"));
            Ok(if is_maria { StorageKind::MariaDb } else { StorageKind::MySql })
        }
    }
}

/// The database's clock, in microseconds since the Unix epoch.
fn now_sql(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
        DbBackend::MySql => "CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)",
        _ => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    }
}

/// The database's clock as an expression of a statement.
pub(crate) fn now_expr(backend: DbBackend) -> SimpleExpr {
    Expr::cust(now_sql(backend))
}
