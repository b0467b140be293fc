//! Checks that the database can store every text, and that the user may do what the server does: at start, instead of
//! an error at the first change that needs it.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::error::StorageError;
use crate::migrate::SchemaError;
use crate::store::Store;
use crate::timeout::bounded;

/// What the server does with the rows of a table.
struct Uses {
    table: &'static str,
    /// A column, for a statement that updates it.
    column: &'static str,
    inserts: bool,
    updates: bool,
    deletes: bool,
}

impl Uses {
    const fn all(table: &'static str, column: &'static str) -> Self {
        Self { table, column, inserts: true, updates: true, deletes: true }
    }

    /// Statements that need the privileges, and affect no row.
    fn statements(&self) -> String {
        let Self { table, column, inserts, updates, deletes } = *self;
        let select = Some(format!("SELECT {column} FROM {table} WHERE 1 = 0;"));
        let insert = inserts.then(|| format!("INSERT INTO {table} SELECT * FROM {table} WHERE 1 = 0;"));
        let update = updates.then(|| format!("UPDATE {table} SET {column} = {column} WHERE 1 = 0;"));
        let delete = deletes.then(|| format!("DELETE FROM {table} WHERE 1 = 0;"));
        [select, insert, update, delete].into_iter().flatten().collect()
    }
}

/// The audit log is only appended to, so an administrator may forbid to change it.
const TABLES: [Uses; 7] = [
    Uses { inserts: false, deletes: false, ..Uses::all("authority", "revision") },
    Uses { inserts: false, deletes: false, ..Uses::all("durability", "barrier") },
    Uses { updates: false, deletes: false, ..Uses::all("audit_event", "revision") },
    Uses::all("account", "revision"),
    Uses::all("api_key", "revision"),
    Uses::all("api_key_secret", "version"),
    Uses::all("replica", "address"),
];

/// What a user needs privileges for.
#[derive(Debug, Clone, Copy)]
enum Needed {
    /// To migrate the schema.
    Schema,
    /// To read and write rows.
    Rows,
}

impl Store {
    /// Checks that the database can store every text. The tables have a character set of their own on MySQL and
    /// MariaDB.
    ///
    /// # Errors
    /// [`SchemaError::Encoding`], or that the database did not answer.
    pub(crate) async fn check_encoding(&self) -> Result<(), SchemaError> {
        if self.db.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        let [database, encoding] =
            self.words("SELECT quote_ident(current_database()), current_setting('server_encoding')").await?;
        if encoding == "UTF8" { Ok(()) } else { Err(SchemaError::Encoding { database, encoding }) }
    }

    /// Checks that the user may read and write the rows of all tables.
    ///
    /// # Errors
    /// [`SchemaError::NotPermitted`], or that the database did not answer.
    pub async fn check_privileges(&self) -> Result<(), SchemaError> {
        if self.db.get_database_backend() == DbBackend::Sqlite {
            return Ok(());
        }
        let statements: String = TABLES.iter().map(Uses::statements).collect();
        let checked = bounded(async { Ok(self.db.execute_unprepared(&statements).await.map(drop)?) }).await;
        match checked {
            Err(error @ StorageError::NotPermitted(_)) => Err(self.not_permitted(Needed::Rows, error).await),
            checked => Ok(checked?),
        }
    }

    /// Adds the statement that helps to the error of a migration, if the user lacks a privilege.
    pub(crate) async fn explain_migration(&self, error: SchemaError) -> SchemaError {
        match error {
            SchemaError::Storage(error @ StorageError::NotPermitted(_)) => {
                self.not_permitted(Needed::Schema, error).await
            }
            error => error,
        }
    }

    async fn not_permitted(&self, needed: Needed, source: StorageError) -> SchemaError {
        match self.grant(needed).await {
            Ok(statement) => SchemaError::NotPermitted { statement, source },
            Err(error) => error.into(),
        }
    }

    /// The statement with which an administrator grants the privileges.
    async fn grant(&self, needed: Needed) -> Result<String, StorageError> {
        if self.db.get_database_backend() == DbBackend::Postgres {
            // Without a privilege on a schema, none is current.
            let names = "SELECT quote_ident(current_user), quote_ident(COALESCE(current_schema(), 'public'))";
            let [user, schema] = self.words(names).await?;
            Ok(match needed {
                Needed::Schema => format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}"),
                Needed::Rows => {
                    format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {user}")
                }
            })
        } else {
            let [user, database] = self.words("SELECT CURRENT_USER(), DATABASE()").await?;
            let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
            let privileges = match needed {
                Needed::Schema => "CREATE, ALTER, INDEX, REFERENCES, SELECT, INSERT, UPDATE, DELETE",
                Needed::Rows => "SELECT, INSERT, UPDATE, DELETE",
            };
            Ok(format!("GRANT {privileges} ON `{database}`.* TO '{name}'@'{host}'"))
        }
    }

    /// The two texts of a row that is always there.
    async fn words(&self, sql: &str) -> Result<[String; 2], StorageError> {
        let backend = self.db.get_database_backend();
        bounded(async {
            let row = self.db.query_one_raw(Statement::from_string(backend, sql)).await?;
            let row = row.ok_or_else(|| StorageError::corrupt("the database", "name", sql))?;
            Ok([row.try_get_by_index(0)?, row.try_get_by_index(1)?])
        })
        .await
    }
}
