//! A fresh database for each test: an SQLite file, or a database on a PostgreSQL or MariaDB server that was started for
//! tests.

use std::fmt::Write;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use key_authority_domain::secret::Keyring;
use key_authority_storage::Store;
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, QueryResult, Statement};
use tempfile::TempDir;

use super::make;

/// The kinds of databases that the tests use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    MariaDb,
}

/// A database of one test. Clones refer to the same database.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    server: Option<Server>,
    _folder: Option<Arc<TempDir>>,
}

/// The server and the name of the database.
#[derive(Clone)]
struct Server {
    admin: DatabaseConnection,
    name: String,
}

/// Runs a test on a separate database, and removes the database even if the test fails.
pub(crate) async fn run<F>(kind: Kind, test: impl FnOnce(Database) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let database = Database::create(kind).await;
    let ended = tokio::spawn(test(database.clone())).await;
    database.remove().await;
    if let Err(failure) = ended {
        resume_unwind(failure.into_panic());
    }
}

impl Database {
    async fn create(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder for temporary files");
                let url = sqlite_url(&folder.path().join("authority.db"));
                Self { kind, url, server: None, _folder: Some(Arc::new(folder)) }
            }
            Kind::Postgres => Self::create_on(kind, "KEY_AUTHORITY_TEST_POSTGRES_URL").await,
            Kind::MariaDb => Self::create_on(kind, "KEY_AUTHORITY_TEST_MARIADB_URL").await,
        }
    }

    async fn create_on(kind: Kind, variable: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let server = std::env::var(variable).unwrap_or_else(|_| {
            panic!(
                "{variable} is not set: use `scripts/test`, or \
                 `scripts/services run -- cargo nextest run -p key-authority-storage`"
            )
        });
        let name = format!("storage_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let admin = session(&server).await;
        // An earlier process with the same ID may have been killed during its tests.
        for sql in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")] {
            admin.execute_unprepared(&sql).await.expect(&sql);
        }
        let (host, _) = server.rsplit_once('/').expect("a URL ends with a path");
        Self { kind, url: format!("{host}/{name}"), server: Some(Server { admin, name }), _folder: None }
    }

    async fn remove(&self) {
        if let Some(Server { admin, name }) = &self.server {
            let force = if self.kind == Kind::Postgres { " WITH (FORCE)" } else { "" };
            let sql = format!("DROP DATABASE {name}{force}");
            admin.execute_unprepared(&sql).await.expect(&sql);
        }
    }

    /// A store like that of a server, on a migrated database.
    pub(crate) async fn store(&self) -> Store {
        let store = self.connect(5).await;
        store.migrate(None).await.expect("the schema");
        store
    }

    /// A pool of connections, without a check of the schema.
    pub(crate) async fn connect(&self, connections: u32) -> Store {
        self.connect_with(connections, make::ring()).await
    }

    /// The same, with other secrets.
    pub(crate) async fn connect_with(&self, connections: u32, ring: Arc<Keyring>) -> Store {
        Store::connect(&self.url, connections, ring).await.expect("a connection")
    }

    /// Executes a statement that storage never would.
    pub(crate) async fn tamper(&self, sql: &str) {
        let session = self.session().await;
        session.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        session.close().await.expect("closing");
    }

    /// A direct connection to the database.
    pub(crate) async fn session(&self) -> DatabaseConnection {
        session(&self.url).await
    }

    /// Bytes as an SQL literal.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> String {
        let mut digits = String::new();
        for byte in bytes {
            let _ = write!(digits, "{byte:02x}");
        }
        if self.kind == Kind::Postgres { format!("'\\x{digits}'::bytea") } else { format!("x'{digits}'") }
    }
}

async fn session(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    sea_orm::Database::connect(options).await.expect("a connection to the database server")
}

/// The rows of a query on a direct connection.
pub(crate) async fn query(session: &DatabaseConnection, sql: impl Into<String>) -> Vec<QueryResult> {
    let statement = Statement::from_string(session.get_database_backend(), sql);
    let text = statement.sql.clone();
    session.query_all_raw(statement).await.unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The URL of an SQLite file that cannot be created.
pub(crate) fn unreachable_file(folder: &Path) -> String {
    sqlite_url(&folder.join("nowhere").join("authority.db"))
}

fn sqlite_url(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}
