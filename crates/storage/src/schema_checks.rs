//! Checks that the database can store every text, and that the user may do what the server does: at start, instead of
//! an error at the first change that needs it.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::error::StorageError;
use crate::migrate::{Needed, SchemaError};
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

    /// The privileges, as SQL names them.
    fn privileges(&self) -> String {
        let others = [(self.inserts, ", INSERT"), (self.updates, ", UPDATE"), (self.deletes, ", DELETE")];
        let others: String = others.into_iter().filter(|(is_needed, _)| *is_needed).map(|(_, name)| name).collect();
        format!("SELECT{others}")
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
const TABLES: [Uses; 8] = [
    Uses { inserts: false, deletes: false, ..Uses::all("authority", "revision") },
    Uses { inserts: false, deletes: false, ..Uses::all("durability", "barrier") },
    Uses { updates: false, deletes: false, ..Uses::all("audit_event", "revision") },
    Uses::all("account", "revision"),
    Uses::all("api_key", "revision"),
    Uses::all("api_key_secret", "version"),
    Uses::all("replica", "address"),
    Uses { inserts: false, updates: false, deletes: false, ..Uses::all("seaql_migrations", "version") },
];

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
            Err(error) => Err(self.explain(Needed::Rows, error).await),
            checked => Ok(checked?),
        }
    }

    /// Adds the statement that helps to an error, if the user lacks a privilege.
    pub(crate) async fn explain(&self, needed: Needed, error: StorageError) -> SchemaError {
        if !matches!(error, StorageError::NotPermitted(_)) {
            return error.into();
        }
        match self.grant(needed).await {
            Ok(statement) => SchemaError::NotPermitted { statement, source: error },
            Err(error) => error.into(),
        }
    }

    /// The statements with which an administrator grants the privileges.
    async fn grant(&self, needed: Needed) -> Result<String, StorageError> {
        let on_tables = |schema: &str, user: &str| {
            let grants = TABLES.iter().map(|uses| {
                let quote = if self.db.get_database_backend() == DbBackend::Postgres { "" } else { "`" };
                format!("GRANT {} ON {schema}.{quote}{}{quote} TO {user}", uses.privileges(), uses.table)
            });
            grants.collect::<Vec<_>>().join("; ")
        };
        if self.db.get_database_backend() == DbBackend::Postgres {
            // Without a privilege on a schema, none is current.
            let names = "SELECT quote_ident(current_user), quote_ident(COALESCE(current_schema(), 'public'))";
            let [user, schema] = self.words(names).await?;
            Ok(match needed {
                Needed::Schema => format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}"),
                Needed::Rows => format!("GRANT USAGE ON SCHEMA {schema} TO {user}; {}", on_tables(&schema, &user)),
            })
        } else {
            let [user, database] = self.words("SELECT CURRENT_USER(), DATABASE()").await?;
            let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
            let (user, database) = (format!("'{name}'@'{host}'"), format!("`{database}`"));
            Ok(match needed {
                Needed::Schema => format!(
                    "GRANT CREATE, ALTER, INDEX, REFERENCES, SELECT, INSERT, UPDATE, DELETE ON {database}.* TO {user}"
                ),
                Needed::Rows => on_tables(&database, &user),
            })
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
