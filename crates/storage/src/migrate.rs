//! Bringing the schema up to date, one process at a time.

use std::fs::{File, TryLockError};
use std::time::Duration;

use key_authority_migrations::Migrator;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, TransactionTrait};
use sea_orm_migration::{IntoSchemaManagerConnection, MigratorTrait};

use crate::alone::{ExclusiveLock, ExclusiveLockError};
use crate::error::{StorageError, took_too_long};
use crate::store::{Store, bounded};

/// The name under which MySQL knows the lock, and the number under which PostgreSQL does. MySQL's locks are the whole
/// server's and their names at most 64 characters long; PostgreSQL's are each database's own.
const LOCK_NAME: &str = "CONCAT('key_authority_migrations.', MD5(DATABASE()))";
const LOCK_NUMBER: i64 = 0x6b65_7961_7574_6801;
const LOCK_TIMEOUT: Duration = Duration::from_mins(1);
/// How often the file is tried that another process holds.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// Why the schema does not fit this build.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A newer build has changed the schema.
    #[error(
        "the database has the migration {name}, which this build does not know; use the build that made it, or a newer one"
    )]
    Newer {
        /// The migration.
        name: String,
    },
    /// The schema is older, and this process was told not to touch it.
    #[error("the database lacks migrations ({pending}); run `key-authority migrate`, or start without --no-migrate")]
    Older {
        /// How many.
        pending: usize,
    },
    /// Somebody else was migrating all the time.
    #[error("another process holds the migration lock for more than {LOCK_TIMEOUT:?}")]
    Locked,
    /// A server is running on the SQLite file, and knows the schema as it is.
    #[error(transparent)]
    Served(#[from] ExclusiveLockError),
    /// The database refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<sea_orm::DbErr> for SchemaError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Storage(error.into())
    }
}

impl Store {
    /// Applies all migrations that are pending, and says how many. An SQLite file that is served by another process is
    /// left as it is: `alone` is the right to serve it, where the caller has it.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub async fn migrate(&self, alone: Option<&ExclusiveLock>) -> Result<usize, SchemaError> {
        let lock = self.lock_schema().await?;
        let result = match &lock {
            // In the session of the lock, which has no limit on how long a statement may take.
            SchemaLock::Session(tx) => migrate_locked(tx).await,
            SchemaLock::File(_) => self.migrate_whole(alone).await,
        };
        let released = lock.release(result.is_ok()).await;
        // Why a migration failed says more than that its session was lost with it.
        let applied = result?;
        released.map(|()| applied)
    }

    /// Applies all migrations, or none of them where the process is killed or the disk is full half-way.
    async fn migrate_whole(&self, alone: Option<&ExclusiveLock>) -> Result<usize, SchemaError> {
        if pending(&self.db).await? == 0 {
            return Ok(0);
        }
        let _held = if alone.is_none() { self.acquire_exclusive().await? } else { None };
        let tx = self.db.begin().await?;
        let applied = migrate_locked(&tx).await?;
        tx.commit().await?;
        Ok(applied)
    }

    /// Checks that the schema is the one this build knows.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub async fn check_schema(&self) -> Result<(), SchemaError> {
        match bounded(async { Ok(pending(&self.db).await) }).await?? {
            0 => Ok(()),
            pending => Err(SchemaError::Older { pending }),
        }
    }

    /// Takes the lock on a connection of its own, which it keeps until it is released.
    async fn lock_schema(&self) -> Result<SchemaLock, SchemaError> {
        let backend = self.db.get_database_backend();
        if backend == DbBackend::Sqlite {
            return self.lock_file().await;
        }
        let tx = self.db.begin().await?;
        if backend == DbBackend::Postgres {
            // The lock of a transaction ends with it, however it ends. The default limit is shorter than a migration.
            tx.execute_unprepared(
                "SET LOCAL statement_timeout = '60s'; SET LOCAL idle_in_transaction_session_timeout = 0",
            )
            .await?;
            tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({LOCK_NUMBER})"))
                .await
                .map_err(|error| if took_too_long(&error) { SchemaError::Locked } else { error.into() })?;
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

    /// On SQLite, who migrates reads before it writes, and two that do so at once fail each other, however long they
    /// would wait: a file beside the database keeps them apart.
    async fn lock_file(&self) -> Result<SchemaLock, SchemaError> {
        let path = self.file_beside("migrating").await?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(StorageError::File)?;
        let locked = async {
            let mut is_told = false;
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(()),
                    Err(TryLockError::Error(error)) => return Err(StorageError::File(error)),
                    Err(TryLockError::WouldBlock) if !is_told => {
                        tracing::info!(file = %path.display(), "waiting for another process that migrates");
                        is_told = true;
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

async fn has_migrations(db: &impl ConnectionTrait) -> Result<bool, SchemaError> {
    let sql = match db.get_database_backend() {
        DbBackend::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'seaql_migrations'",
        DbBackend::Postgres => {
            "SELECT table_name FROM information_schema.tables \
             WHERE table_schema = current_schema() AND table_name = 'seaql_migrations'"
        }
        _ => {
            "SELECT table_name FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name = 'seaql_migrations'"
        }
    };
    Ok(db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await?.is_some())
}

enum SchemaLock {
    Session(DatabaseTransaction),
    File(File),
}

impl SchemaLock {
    /// Lets go of the lock. On PostgreSQL, what was done under it stands with its end, or not at all.
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
