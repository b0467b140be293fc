//! Storage errors, and the classification of driver errors.

use std::error::Error;
use std::fmt;

use sea_orm::{DbErr, RuntimeErr, sqlx};

/// The error of a storage operation.
///
/// No variant is a denial: each means that the database could not be read, that its data is invalid, or that a caller
/// makes too many changes at once.
///
/// # Whether something was written
///
/// - [`WriteTx::commit`]: only with [`OutcomeUnknown`](Self::OutcomeUnknown). With any other error nothing was changed,
///   because a lost COMMIT is resolved there.
/// - All other writes (the registry, the settings, usage): also with [`Unavailable`](Self::Unavailable) and
///   [`TimedOut`](Self::TimedOut). The statement or the COMMIT may have taken effect, and may even take effect after
///   the error was returned. These writes can be repeated. Repeating one has no further effect, except that
///   [`Store::record_usage`] counts the uses again.
///
/// [`WriteTx::commit`]: crate::write_tx::WriteTx::commit
/// [`Store::record_usage`]: crate::Store::record_usage
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The database cannot be reached, or the connection was lost.
    #[error("cannot reach the database")]
    Unavailable(#[source] DriverError),
    /// The database, or a pooler in front of it, accepts no further connection of this user.
    #[error("the database accepts no further connection of this user")]
    TooManyConnections(#[source] DriverError),
    /// The database did not answer within the timeout. It may still execute the statement.
    #[error("timed out waiting for the database")]
    TimedOut,
    /// Another process holds the lock of the SQLite file, and did not release it within the timeout. Nothing was
    /// changed.
    #[error("the SQLite database is locked by another process; `lslocks` lists it")]
    Locked(#[source] DriverError),
    /// All sessions are read-only: the server is a standby, or was switched to read-only mode.
    #[error("the database is read-only; connect to the primary, or switch read-only mode off")]
    ReadOnly,
    /// The database rolled the transaction back: a serialization failure or a deadlock. Nothing was changed. The
    /// transaction can be retried.
    #[error("the transaction conflicted with another")]
    Conflict(#[source] DriverError),
    /// The database cannot write: disk full, read-only, or an I/O error. Nothing was changed.
    #[error("the database cannot write")]
    CannotWrite(#[source] DriverError),
    /// The connection was lost during COMMIT, and the outcome could not be read: the change may be committed or not.
    #[error("the outcome of the commit is unknown")]
    OutcomeUnknown(#[source] Box<StorageError>),
    /// Too many changes of the caller wait for their turn. Nothing was changed.
    #[error("{max} changes of the caller wait already")]
    TooManyChanges {
        /// The maximum number of waiting changes of a caller.
        max: usize,
    },
    /// A row with an invalid value.
    #[error("corrupt row in table {table}, column {column}, of {id}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's ID.
        id: String,
    },
    /// The server does not accept the user or the password, or denies access to the database.
    #[error("database authentication failed; check the user, the password and the privileges")]
    AuthenticationFailed(#[source] DriverError),
    /// The user lacks a privilege.
    #[error("the database user lacks a privilege")]
    NotPermitted(#[source] DriverError),
    /// The server has no database with this name.
    #[error("the database does not exist on the server; create it first")]
    NoDatabase(#[source] DriverError),
    /// The database rejected a valid statement: a bug, or the schema was changed.
    #[error("the database rejected a statement")]
    Refused(#[source] DriverError),
    /// A page of the SQLite file is not what it should be.
    #[error("the SQLite file is damaged; restore a backup (`key-authority restore`)")]
    Damaged(#[source] DriverError),
    /// A transaction wrote rows and was to end without an audit event; it was rolled back. This is a bug.
    #[error("a change without an audit event was rolled back")]
    Unaudited,
    /// A lock file next to the SQLite database cannot be used.
    #[error("cannot use a lock file of the SQLite database")]
    File(#[source] std::io::Error),
}

/// A driver error, displayed as its root cause: each error in its chain repeats the next one.
#[derive(Debug)]
pub struct DriverError(DbErr);

impl From<DbErr> for DriverError {
    fn from(error: DbErr) -> Self {
        Self(error)
    }
}

impl fmt::Display for DriverError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(sqlx::Error::Database(database)) = driver(&self.0)
            && let Some(postgres) = database.try_downcast_ref::<sea_orm::SqlxPostgresError>()
        {
            // Its `Display` adds a line of the source code of PostgreSQL.
            return formatter.write_str(postgres.message());
        }
        let mut error: &(dyn Error + 'static) = match driver(&self.0) {
            Some(driver) => driver,
            None => &self.0,
        };
        while let Some(source) = error.source() {
            error = source;
        }
        write!(formatter, "{error}")
    }
}

impl Error for DriverError {}

impl From<DbErr> for StorageError {
    fn from(error: DbErr) -> Self {
        let kind = kind_of(&error);
        let error = DriverError(error);
        match kind {
            Kind::Unreachable => Self::Unavailable(error),
            Kind::Locked => Self::Locked(error),
            Kind::Conflict => Self::Conflict(error),
            Kind::CannotWrite => Self::CannotWrite(error),
            Kind::AuthenticationFailed => Self::AuthenticationFailed(error),
            Kind::NoDatabase => Self::NoDatabase(error),
            Kind::TooManyConnections => Self::TooManyConnections(error),
            Kind::NotPermitted => Self::NotPermitted(error),
            Kind::Damaged => Self::Damaged(error),
            Kind::Refused => Self::Refused(error),
        }
    }
}

/// The error of sqlx within the error of sea-orm.
fn driver(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(driver))
        | DbErr::Exec(RuntimeErr::SqlxError(driver))
        | DbErr::Query(RuntimeErr::SqlxError(driver)) => Some(driver),
        _ => None,
    }
}

enum Kind {
    Unreachable,
    TooManyConnections,
    Locked,
    Conflict,
    CannotWrite,
    AuthenticationFailed,
    NotPermitted,
    NoDatabase,
    Damaged,
    Refused,
}

fn kind_of(error: &DbErr) -> Kind {
    let runtime = match error {
        DbErr::ConnectionAcquire(_) => return Kind::Unreachable,
        DbErr::Conn(runtime) | DbErr::Exec(runtime) | DbErr::Query(runtime) => runtime,
        _ => return Kind::Refused,
    };
    let RuntimeErr::SqlxError(driver) = runtime else {
        // sea-orm's own connection errors mean that there is no connection.
        return if matches!(error, DbErr::Conn(_)) { Kind::Unreachable } else { Kind::Refused };
    };
    match driver.as_ref() {
        sqlx::Error::Database(database) => {
            // MySQL and MariaDB report these with a generic SQLSTATE.
            match database.try_downcast_ref::<sea_orm::SqlxMySqlError>().map(sea_orm::SqlxMySqlError::number) {
                Some(1213) => return Kind::Conflict,
                Some(1040 | 1203 | 1226) => return Kind::TooManyConnections,
                Some(1044) => return Kind::AuthenticationFailed,
                Some(1142 | 1143) => return Kind::NotPermitted,
                Some(1049) => return Kind::NoDatabase,
                _ => {}
            }
            kind_of_code(database.code().as_deref().unwrap_or_default(), database.message())
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => Kind::Unreachable,
        _ => Kind::Refused,
    }
}

/// Whether MySQL or MariaDB rejected a statement because a table does not exist.
pub(crate) fn is_missing_table(error: &DbErr) -> bool {
    let Some(sqlx::Error::Database(database)) = driver(error) else { return false };
    database.try_downcast_ref::<sea_orm::SqlxMySqlError>().is_some_and(|error| error.number() == 1146)
}

/// Whether PostgreSQL cancelled a statement because of a statement timeout or a lock timeout.
pub(crate) fn is_statement_timeout(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(driver)) | DbErr::Query(RuntimeErr::SqlxError(driver))) = error else {
        return false;
    };
    let code = driver.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("57014" | "55P03"))
}

/// The meaning of SQLSTATEs (PostgreSQL, MySQL, MariaDB: five characters) and of SQLite's numbers.
fn kind_of_code(code: &str, message: &str) -> Kind {
    match code {
        // PostgreSQL, and PgBouncer before 1.21.
        "53300" => Kind::TooManyConnections,
        "08P01" if message.contains("no more connections allowed") => Kind::TooManyConnections,
        // PostgreSQL: connection exceptions, shutdown, cannot connect now, cancelled statement, lock not available.
        code if code.starts_with("08") => Kind::Unreachable,
        "55000" if message.contains("not currently accepting connections") => Kind::Unreachable,
        "57P01" | "57P02" | "57P03" | "57P05" | "57014" | "55P03" => Kind::Unreachable,
        // Serialization failure and deadlock.
        "40001" | "40P01" => Kind::Conflict,
        // PostgreSQL: disk full, out of memory, read-only transaction (a standby), I/O error.
        "53100" | "53200" | "25006" | "58030" => Kind::CannotWrite,
        // PostgreSQL: invalid password; it and MySQL: invalid authorization; PostgreSQL: invalid catalog name.
        "28P01" | "28000" => Kind::AuthenticationFailed,
        "3D000" => Kind::NoDatabase,
        // PostgreSQL: insufficient privilege; no schema in which the user may create a table.
        "42501" | "3F000" => Kind::NotPermitted,
        // SQLite primary result codes 5 BUSY, 6 LOCKED; 8 READONLY, 10 IOERR, 13 FULL, 14 CANTOPEN; 11 CORRUPT, 26
        // NOTADB. Extended ones carry the primary one in the low byte.
        number if number.len() < 5 && number.parse::<u32>().is_ok() => {
            match number.parse::<u32>().unwrap_or(0) & 0xff {
                5 | 6 => Kind::Locked,
                8 | 10 | 13 | 14 => Kind::CannotWrite,
                11 | 26 => Kind::Damaged,
                _ => Kind::Refused,
            }
        }
        // MySQL and MariaDB report most errors as HY000. The messages distinguish them.
        "HY000" if is_full(message) => Kind::CannotWrite,
        "HY000" if message.contains("Lock wait timeout") || message.contains("shutdown") => Kind::Unreachable,
        "70100" => Kind::Unreachable,
        _ => Kind::Refused,
    }
}

fn is_full(message: &str) -> bool {
    ["is full", "Disk full", "read-only", "read only", "No space left"].iter().any(|text| message.contains(text))
}

impl StorageError {
    /// Creates an error about an invalid row.
    pub(crate) fn corrupt(table: &'static str, column: &'static str, id: impl Into<String>) -> Self {
        Self::Corrupt { table, column, id: id.into() }
    }

    /// Whether the pool timed out before a connection was opened or became free.
    pub(crate) fn is_pool_timeout(&self) -> bool {
        let Self::Unavailable(DriverError(error)) = self else { return false };
        matches!(error, DbErr::ConnectionAcquire(_)) || matches!(driver(error), Some(sqlx::Error::PoolTimedOut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_error_displays_its_root_cause() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let error = DbErr::Conn(RuntimeErr::SqlxError(sqlx::Error::Io(refused).into()));
        assert_eq!(StorageError::from(error).source().unwrap().to_string(), "connection refused");
    }

    #[test]
    fn error_codes_are_classified() {
        for code in ["08006", "08P01", "57P01"] {
            assert!(matches!(kind_of_code(code, ""), Kind::Unreachable), "{code}");
        }
        for code in ["5", "517", "6"] {
            assert!(matches!(kind_of_code(code, ""), Kind::Locked), "{code}");
        }
        for code in ["40001", "40P01"] {
            assert!(matches!(kind_of_code(code, ""), Kind::Conflict), "{code}");
        }
        for code in ["53100", "13", "10", "778", "8", "25006"] {
            assert!(matches!(kind_of_code(code, ""), Kind::CannotWrite), "{code}");
        }
        for code in ["11", "267", "26"] {
            assert!(matches!(kind_of_code(code, ""), Kind::Damaged), "{code}");
        }
        assert!(matches!(kind_of_code("HY000", "The table 'api_key' is full"), Kind::CannotWrite));
        assert!(matches!(kind_of_code("53300", ""), Kind::TooManyConnections));
        let pooler = "no more connections allowed (max_client_conn)";
        assert!(matches!(kind_of_code("08P01", pooler), Kind::TooManyConnections));
        let closed = "database \"keys\" is not currently accepting connections";
        assert!(matches!(kind_of_code("55000", closed), Kind::Unreachable));
        assert!(matches!(kind_of_code("42501", ""), Kind::NotPermitted));
        assert!(matches!(kind_of_code("28P01", ""), Kind::AuthenticationFailed));
        assert!(matches!(kind_of_code("3D000", ""), Kind::NoDatabase));
        for code in ["23505", "42P01", "19", "1"] {
            assert!(matches!(kind_of_code(code, ""), Kind::Refused), "{code}");
        }
    }
}
