//! The check of a database file that came from elsewhere.

use std::path::Path;

use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement};

use super::error::SqliteFileError;
use crate::error::StorageError;
use crate::settings::{Head, head_of};
use crate::store::Store;

/// The head that the `authority` row names, and whether the log ends there. Every version of the schema has these
/// columns.
const HEAD: &str = "SELECT revision, head_hash, \
    revision = (SELECT COUNT(*) FROM audit_event) AND (revision = 0 OR head_hash = \
    (SELECT hash FROM audit_event WHERE audit_event.revision = authority.revision)) AS is_complete \
    FROM authority WHERE id = 1";

#[derive(FromQueryResult)]
struct HeadRow {
    revision: i64,
    head_hash: Vec<u8>,
    is_complete: Option<bool>,
}

impl Store {
    /// Checks that the file is a whole database with an authority: SQLite's own check of the structure, and the log
    /// up to its head, which it returns. It reads the whole file.
    ///
    /// # Errors
    /// [`SqliteFileError::Damaged`], [`SqliteFileError::NoAuthority`], or that the file could not be read.
    pub async fn check_integrity(&self, path: &Path) -> Result<Head, SqliteFileError> {
        let damaged = |finding: String| SqliteFileError::Damaged { path: path.to_owned(), finding };
        let text = async |sql: &str, column: &str| {
            let row = self.db.query_one_raw(Statement::from_string(DbBackend::Sqlite, sql)).await?;
            Ok::<_, StorageError>(row.map(|row| row.try_get::<String>("", column)).transpose()?.unwrap_or_default())
        };
        let finding = match text("PRAGMA integrity_check(1)", "integrity_check").await {
            Ok(finding) => finding,
            Err(StorageError::Damaged(cause)) => cause.to_string(),
            Err(error) => return Err(error.into()),
        };
        if finding != "ok" {
            return Err(damaged(format!("is damaged: {finding}")));
        }
        if !self.has_schema().await? {
            return Err(SqliteFileError::NoAuthority { path: path.to_owned() });
        }
        let row = HeadRow::find_by_statement(Statement::from_string(DbBackend::Sqlite, HEAD)).one(&self.db).await;
        match row.map_err(StorageError::from)? {
            Some(HeadRow { revision, head_hash, is_complete: Some(true) }) => Ok(head_of(revision, &head_hash)?),
            _ => Err(damaged("is damaged: the audit log does not end at its head".to_owned())),
        }
    }
}
