//! What can go wrong, and the one place where a driver's error gets its meaning.

use std::error::Error;
use std::fmt;

use sea_orm::{DbErr, RuntimeErr, sqlx};

/// Why storage gives no answer.
///
/// None of these is a denial: each means that nobody could look, or that what was seen cannot be right.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The database cannot be reached, or did not answer in time. Nothing was changed.
    #[error("the database cannot be reached")]
    Unavailable(#[source] DriverError),
    /// The database did not answer in time. Nothing was changed.
    #[error("the database did not answer in time")]
    TimedOut,
    /// Every session that the pool could get is read-only: a standby, or a server that was switched to read-only.
    #[error("the database is read-only; connect to the primary, or switch read-only mode off")]
    ReadOnly,
    /// The database gave the transaction up in favour of another: a serialization failure or a deadlock. Nothing was
    /// changed, and the same transaction may succeed when it is run again.
    #[error("the transaction conflicted with another")]
    Conflict(#[source] DriverError),
    /// The database has no room, or may not write. Nothing was changed.
    #[error("the database cannot write")]
    CannotWrite(#[source] DriverError),
    /// The connection was lost around COMMIT and the database could not be asked again: the change may stand or not.
    #[error("the outcome of the change is unknown")]
    OutcomeUnknown(#[source] Box<StorageError>),
    /// A row that cannot be right.
    #[error("corrupt row in table {table}, column {column}, of {id}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's ID.
        id: String,
    },
    /// The server is there, and knows no such user, or another password.
    #[error("the database admits nobody of this name and password")]
    NotAdmitted(#[source] DriverError),
    /// The server is there, and has no such database.
    #[error("the server has no such database; create it first")]
    NoDatabase(#[source] DriverError),
    /// The database refused a statement that should have been right: a fault of ours, or a schema that was changed.
    #[error("the database refused a statement")]
    Refused(#[source] DriverError),
    /// A file beside the database could not be used.
    #[error("a file of the database could not be used")]
    File(#[source] std::io::Error),
}

/// What the driver says, once: each of its errors repeats the one below it, and only the last of them speaks of the
/// database.
#[derive(Debug)]
pub struct DriverError(DbErr);

impl From<DbErr> for DriverError {
    fn from(error: DbErr) -> Self {
        Self(error)
    }
}

impl fmt::Display for DriverError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            Kind::Conflict => Self::Conflict(error),
            Kind::CannotWrite => Self::CannotWrite(error),
            Kind::NotAdmitted => Self::NotAdmitted(error),
            Kind::NoDatabase => Self::NoDatabase(error),
            Kind::Refused => Self::Refused(error),
        }
    }
}

/// The driver's own error, which sea-orm shows as text only.
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
    Conflict,
    CannotWrite,
    NotAdmitted,
    NoDatabase,
    Refused,
}

fn kind_of(error: &DbErr) -> Kind {
    let runtime = match error {
        DbErr::ConnectionAcquire(_) => return Kind::Unreachable,
        DbErr::Conn(runtime) | DbErr::Exec(runtime) | DbErr::Query(runtime) => runtime,
        _ => return Kind::Refused,
    };
    let RuntimeErr::SqlxError(driver) = runtime else {
        // What sea-orm says itself about a connection is that there is none.
        return if matches!(error, DbErr::Conn(_)) { Kind::Unreachable } else { Kind::Refused };
    };
    match driver.as_ref() {
        sqlx::Error::Database(database) => {
            // MySQL and MariaDB put these under a general SQLSTATE.
            match database.try_downcast_ref::<sea_orm::SqlxMySqlError>().map(sea_orm::SqlxMySqlError::number) {
                Some(1213) => return Kind::Conflict,
                Some(1044) => return Kind::NotAdmitted,
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

/// Whether PostgreSQL gave a statement up since it, or the lock it waited for, took too long.
pub(crate) fn took_too_long(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(driver)) | DbErr::Query(RuntimeErr::SqlxError(driver))) = error else {
        return false;
    };
    let code = driver.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("57014" | "55P03"))
}

/// The meaning of SQLSTATEs (PostgreSQL, MySQL, MariaDB: five characters) and of SQLite's numbers.
fn kind_of_code(code: &str, message: &str) -> Kind {
    match code {
        // PostgreSQL: connection exceptions, too many connections, shutdown, cannot connect now, cancelled statement,
        // lock not available.
        code if code.starts_with("08") => Kind::Unreachable,
        "53300" | "57P01" | "57P02" | "57P03" | "57P05" | "57014" | "55P03" => Kind::Unreachable,
        // Serialization failure and deadlock.
        "40001" | "40P01" => Kind::Conflict,
        // PostgreSQL: disk full, out of memory, read-only transaction (a standby), I/O error.
        "53100" | "53200" | "25006" | "58030" => Kind::CannotWrite,
        // PostgreSQL: invalid password; it and MySQL: invalid authorization; PostgreSQL: invalid catalog name.
        "28P01" | "28000" => Kind::NotAdmitted,
        "3D000" => Kind::NoDatabase,
        // SQLite primary result codes 5 BUSY, 6 LOCKED; 8 READONLY, 10 IOERR, 13 FULL, 14 CANTOPEN. Extended ones
        // carry the primary one in the low byte.
        number if number.len() < 5 && number.parse::<u32>().is_ok() => {
            match number.parse::<u32>().unwrap_or(0) & 0xff {
                5 | 6 => Kind::Unreachable,
                8 | 10 | 13 | 14 => Kind::CannotWrite,
                _ => Kind::Refused,
            }
        }
        // MySQL and MariaDB put most of it under HY000: tell by the text, which starts alike on both.
        "HY000" if is_full(message) => Kind::CannotWrite,
        "HY000" if message.contains("Lock wait timeout") || message.contains("shutdown") => Kind::Unreachable,
        "70100" => Kind::Unreachable,
        _ => Kind::Refused,
    }
}

fn is_full(message: &str) -> bool {
    ["is full", "Disk full", "read-only", "read only", "No space left"].iter().any(|mark| message.contains(mark))
}

impl StorageError {
    /// A row that cannot be right.
    pub(crate) fn corrupt(table: &'static str, column: &'static str, id: impl Into<String>) -> Self {
        Self::Corrupt { table, column, id: id.into() }
    }

    /// Whether it says only that no connection was made, or became free, in time.
    pub(crate) fn is_pool_timeout(&self) -> bool {
        let Self::Unavailable(DriverError(error)) = self else { return false };
        matches!(error, DbErr::ConnectionAcquire(_)) || matches!(driver(error), Some(sqlx::Error::PoolTimedOut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_says_is_said_once() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "nobody is there");
        let error = DbErr::Conn(RuntimeErr::SqlxError(sqlx::Error::Io(refused).into()));
        assert_eq!(StorageError::from(error).source().unwrap().to_string(), "nobody is there");
    }

    #[test]
    fn codes_have_their_meaning() {
        for code in ["08006", "57P01", "53300", "5", "517", "6"] {
            assert!(matches!(kind_of_code(code, ""), Kind::Unreachable), "{code}");
        }
        for code in ["40001", "40P01"] {
            assert!(matches!(kind_of_code(code, ""), Kind::Conflict), "{code}");
        }
        for code in ["53100", "13", "10", "778", "8", "25006"] {
            assert!(matches!(kind_of_code(code, ""), Kind::CannotWrite), "{code}");
        }
        assert!(matches!(kind_of_code("HY000", "The table 'api_key' is full"), Kind::CannotWrite));
        assert!(matches!(kind_of_code("28P01", ""), Kind::NotAdmitted));
        assert!(matches!(kind_of_code("3D000", ""), Kind::NoDatabase));
        for code in ["23505", "42P01", "19", "1"] {
            assert!(matches!(kind_of_code(code, ""), Kind::Refused), "{code}");
        }
    }
}
