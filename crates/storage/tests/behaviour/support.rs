//! Test support: fresh databases, test data, and a proxy that cuts connections.

pub(crate) mod database;
pub(crate) mod make;
pub(crate) mod proxy;

use std::error::Error;
use std::fmt::Write;

pub(crate) use database::{Database, Kind, run};
use key_authority_storage::StorageError;

/// Makes a test of each function on the databases named: `…::sqlite::name`, `…::postgres::name`, `…::mariadb::name`.
macro_rules! on_databases {
    ([$($module:ident $kind:ident),*] $tests:tt) => {
        $(mod $module { $crate::support::tests_on!($kind $tests); })*
    };
}

macro_rules! tests_on {
    ($kind:ident { $($name:ident),* $(,)? }) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $crate::support::run($crate::support::Kind::$kind, super::$name).await;
            }
        )*
    };
}

/// Makes three tests of each function, one for each database.
macro_rules! on_every_database {
    ($($name:ident),* $(,)?) => {
        $crate::support::on_databases!([sqlite Sqlite, postgres Postgres, mariadb MariaDb] { $($name),* });
    };
}

/// Makes two tests of each function, for databases with a network connection.
macro_rules! on_database_servers {
    ($($name:ident),* $(,)?) => {
        $crate::support::on_databases!([postgres Postgres, mariadb MariaDb] { $($name),* });
    };
}

/// Makes one test of each function, for SQLite files.
macro_rules! on_sqlite {
    ($($name:ident),* $(,)?) => {
        $crate::support::on_databases!([sqlite Sqlite] { $($name),* });
    };
}

pub(crate) use {on_database_servers, on_databases, on_every_database, on_sqlite, tests_on};

/// Whether an error means that the database was unavailable. From `WriteTx::commit`, nothing was changed.
pub(crate) fn is_away(error: &StorageError) -> bool {
    matches!(
        error,
        StorageError::Unavailable(_) | StorageError::TimedOut | StorageError::Locked(_) | StorageError::CannotWrite(_)
    )
}

/// All texts of an error: its message, those of its sources, and its `Debug` output.
pub(crate) fn all_words(error: &dyn Error) -> String {
    let mut text = format!("{error:?} {error}");
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
