//! Schema migrations, by one process at a time.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;

use key_authority_migrations::Migrator;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, TransactionTrait};
use sea_orm_migration::{IntoSchemaManagerConnection, MigratorTrait};

use crate::error::{StorageError, is_missing_table, is_statement_timeout};
use crate::exclusive_lock::{ExclusiveLock, ExclusiveLockError};
use crate::store::Store;
use crate::timeout::bounded;

/// The name of the lock on MySQL and its number on PostgreSQL. Locks of MySQL are global to the server, and their names
/// have at most 64 characters. Locks of PostgreSQL are local to the database.
const LOCK_NAME: &str = "CONCAT('key_authority_migrations.', MD5(DATABASE()))";
const LOCK_NUMBER: i64 = 0x6b65_7961_7574_6801;
const LOCK_TIMEOUT: Duration = Duration::from_mins(1);
/// Interval of attempts to lock the file.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// The schema does not match this build, or cannot be migrated.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A newer build migrated the schema.
    #[error("the database has the unknown migration {name}; use the build that applied it, or a newer one")]
    Newer {
        /// Name of the migration.
        name: String,
    },
    /// The schema is older, and migrations are disabled for this process.
    #[error("pending database migrations: {pending}; run `key-authority migrate`, or start without --no-migrate")]
    Older {
        /// Number of pending migrations.
        pending: usize,
    },
    /// Another process held the migration lock until the timeout.
    #[error("timed out after {LOCK_TIMEOUT:?} waiting for the migration lock, which another process holds")]
    Locked,
    /// The database cannot store every text.
    #[error(
        "the database {database} has the encoding {encoding} and cannot store every text; use another one, which an \
         administrator makes with: CREATE DATABASE … ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )]
    Encoding {
        /// The name of the database.
        database: String,
        /// Its encoding.
        encoding: String,
    },
    /// The user lacks a privilege.
    #[error("cannot use the tables of the database; let an administrator run: {statement}")]
    NotPermitted {
        /// The statement that grants it.
        statement: String,
        /// The error of the database.
        source: StorageError,
    },
    /// A server is running on the SQLite database with the current schema.
    #[error(transparent)]
    Served(#[from] ExclusiveLockError),
    /// The database did not answer, or rejected a migration.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What a user needs privileges for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Needed {
    /// To migrate the schema.
    Schema,
    /// To read and write rows.
    Rows,
}

impl From<sea_orm::DbErr> for SchemaError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Storage(error.into())
    }
}

impl Store {
    /// Applies all pending migrations, and returns their number. An SQLite database that another process serves is not
    /// migrated: `exclusive` is its exclusive lock, if the caller holds it.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub async fn migrate(&self, exclusive: Option<&ExclusiveLock>) -> Result<usize, SchemaError> {
        self.check_encoding().await?;
        // Its errors say what the user may not do.
        self.pending(Needed::Schema).await?;
        let lock = self.lock_schema().await?;
        let result = match &lock {
            // In the session of the lock, which has no statement timeout.
            SchemaLock::Session(tx) => migrate_locked(tx).await,
            SchemaLock::File(_) => self.migrate_atomically(exclusive).await,
        };
        let released = lock.release(result.is_ok()).await;
        // The error of the migration takes precedence over the error of the release.
        match result {
            Ok(applied) => released.map(|()| applied),
            Err(SchemaError::Storage(error)) => Err(self.explain(Needed::Schema, error).await),
            Err(error) => Err(error),
        }
    }

    /// Applies all migrations in one transaction, so that none is applied if the process is killed or the disk is full.
    async fn migrate_atomically(&self, exclusive: Option<&ExclusiveLock>) -> Result<usize, SchemaError> {
        if pending(&self.db).await? == 0 {
            return Ok(0);
        }
        let _held = match exclusive {
            Some(_) => None,
            None => Some(ExclusiveLock::on(&self.database_file().await?)?),
        };
        let tx = self.db.begin().await?;
        let applied = migrate_locked(&tx).await?;
        tx.commit().await?;
        Ok(applied)
    }

    /// Checks that the schema matches this build.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub async fn check_schema(&self) -> Result<(), SchemaError> {
        self.check_encoding().await?;
        match self.pending(Needed::Rows).await? {
            0 => Ok(()),
            pending => Err(SchemaError::Older { pending }),
        }
    }

    /// The number of pending migrations. `needed` is what a user needs who may not even see whether there are any.
    async fn pending(&self, needed: Needed) -> Result<usize, SchemaError> {
        if !self.has_schema_for(needed).await? {
            return Ok(Migrator::migrations().len());
        }
        match bounded(async { Ok(pending(&self.db).await) }).await? {
            Err(SchemaError::Storage(error)) => Err(self.explain(Needed::Rows, error).await),
            pending => pending,
        }
    }

    /// Whether the database has a schema, of any version.
    ///
    /// # Errors
    /// [`SchemaError::NotPermitted`], or that the database did not answer.
    pub async fn has_schema(&self) -> Result<bool, SchemaError> {
        self.has_schema_for(Needed::Rows).await
    }

    async fn has_schema_for(&self, needed: Needed) -> Result<bool, SchemaError> {
        match bounded(async { Ok(has_migrations(&self.db).await?) }).await {
            Err(error) => Err(self.explain(needed, error).await),
            has_schema => Ok(has_schema?),
        }
    }

    /// Takes the migration lock on a separate connection, which is kept until the release.
    async fn lock_schema(&self) -> Result<SchemaLock, SchemaError> {
        let backend = self.db.get_database_backend();
        if backend == DbBackend::Sqlite {
            return self.lock_file().await;
        }
        let tx = self.db.begin().await?;
        if backend == DbBackend::Postgres {
            // The lock is released at the end of the transaction. The default timeouts are shorter than a migration.
            tx.execute_unprepared(
                "SET LOCAL statement_timeout = '60s'; SET LOCAL idle_in_transaction_session_timeout = 0",
            )
            .await?;
            tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({LOCK_NUMBER})"))
                .await
                .map_err(|error| if is_statement_timeout(&error) { SchemaError::Locked } else { error.into() })?;
            tx.execute_unprepared("SET LOCAL statement_timeout = 0").await?;
        } else {
            let sql = format!("SELECT GET_LOCK({LOCK_NAME}, {}) AS held", LOCK_TIMEOUT.as_secs());
            let row = tx.query_one_raw(Statement::from_string(backend, sql)).await?;
            if row.map(|row| row.try_get::<i64>("", "held")).transpose()? != Some(1) {
                return Err(SchemaError::Locked);
            }
        }
        Ok(SchemaLock::Session(tx))
    }

    /// A migration on SQLite reads before it writes. Two concurrent ones fail with a lock upgrade conflict regardless
    /// of the timeout, so a lock file next to the database serializes them.
    async fn lock_file(&self) -> Result<SchemaLock, SchemaError> {
        let mut path = self.database_file().await?.into_os_string();
        path.push(".migrating");
        let path = PathBuf::from(path);
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(StorageError::File)?;
        let locked = async {
            let mut is_logged = false;
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(()),
                    Err(TryLockError::Error(error)) => return Err(StorageError::File(error)),
                    Err(TryLockError::WouldBlock) if !is_logged => {
                        tracing::info!(file = %path.display(), "migration lock held by another process; waiting");
                        is_logged = true;
                    }
                    Err(TryLockError::WouldBlock) => {}
                }
                tokio::time::sleep(LOCK_INTERVAL).await;
            }
        };
        tokio::time::timeout(LOCK_TIMEOUT, locked).await.map_err(|_| SchemaError::Locked)??;
        Ok(SchemaLock::File(file))
    }
}

async fn migrate_locked<'c, C>(db: &'c C) -> Result<usize, SchemaError>
where
    C: ConnectionTrait,
    &'c C: IntoSchemaManagerConnection<'c>,
{
    let pending = pending(db).await?;
    if pending > 0 {
        Migrator::up(db, None).await?;
    }
    Ok(pending)
}

async fn pending(db: &impl ConnectionTrait) -> Result<usize, SchemaError> {
    let known = Migrator::migrations();
    let applied: Vec<String> = if has_migrations(db).await? {
        let sql = "SELECT version FROM seaql_migrations";
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
        rows.iter().map(|row| row.try_get("", "version")).collect::<Result<_, _>>()?
    } else {
        Vec::new()
    };
    if let Some(name) = applied.iter().find(|name| !known.iter().any(|migration| migration.name() == *name)) {
        return Err(SchemaError::Newer { name: name.clone() });
    }
    Ok(known.len() - applied.len())
}

/// Whether there is the table of the migrations. `information_schema` hides a table from a user without privileges on
/// it.
async fn has_migrations(db: &impl ConnectionTrait) -> Result<bool, sea_orm::DbErr> {
    let backend = db.get_database_backend();
    let row = |sql: &str| db.query_one_raw(Statement::from_string(backend, sql));
    match backend {
        DbBackend::Sqlite => {
            let found = row("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'seaql_migrations'");
            Ok(found.await?.is_some())
        }
        DbBackend::Postgres => {
            // Without a privilege on a schema, none is current. Not `to_regclass`: its cache may not have a table that
            // another session has created during this transaction.
            let found = row("SELECT quote_ident(schemaname) FROM pg_catalog.pg_tables \
                             WHERE schemaname = COALESCE(current_schema(), 'public') \
                             AND tablename = 'seaql_migrations'");
            let Some(found) = found.await? else { return Ok(false) };
            // The catalog shows the table to every user. PostgreSQL reports that a user lacks a privilege on the
            // schema, instead of that there is no table, only if a statement names the schema.
            let schema: String = found.try_get_by_index(0)?;
            let sql = format!("SELECT 1 FROM {schema}.seaql_migrations LIMIT 0");
            db.execute_unprepared(&sql).await.map(|_| true)
        }
        _ => match db.execute_unprepared("SELECT 1 FROM seaql_migrations LIMIT 0").await {
            Err(error) if is_missing_table(&error) => Ok(false),
            found => found.map(|_| true),
        },
    }
}

enum SchemaLock {
    Session(DatabaseTransaction),
    File(File),
}

impl SchemaLock {
    /// Releases the lock. On PostgreSQL, this also commits or rolls back the migrations.
    async fn release(self, is_done: bool) -> Result<(), SchemaError> {
        match self {
            Self::Session(tx) => {
                if tx.get_database_backend() == DbBackend::MySql {
                    tx.execute_unprepared(&format!("DO RELEASE_LOCK({LOCK_NAME})")).await?;
                }
                if is_done { Ok(tx.commit().await?) } else { Ok(tx.rollback().await?) }
            }
            Self::File(file) => file.unlock().map_err(|error| StorageError::File(error).into()),
        }
    }
}
