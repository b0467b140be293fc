//! A direct database session of the harness, past every link: it creates databases and measures bare transactions.

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, MySqlConnection, PgConnection};

/// A session on either kind of database.
#[derive(Debug)]
pub(crate) enum Session {
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
}

impl Session {
    pub(crate) async fn open(url: &str) -> Result<Self, sqlx::Error> {
        if url.starts_with("postgres:") {
            PgConnection::connect(url).await.map(Self::Postgres)
        } else {
            MySqlConnection::connect(url).await.map(Self::MariaDb)
        }
    }

    /// Executes statements. They must contain no external input.
    pub(crate) async fn execute(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(session) => session.execute(sql).await.map(drop),
            Self::MariaDb(session) => session.execute(sql).await.map(drop),
        }
    }
}
