//! A session of the harness's own on the database, past every link: to make databases, and to measure bare transactions.

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, MySqlConnection, PgConnection};

/// A session on either database.
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

    /// Executes statements that hold no value of anybody else's making.
    pub(crate) async fn execute(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(session) => session.execute(sql).await.map(drop),
            Self::MariaDb(session) => session.execute(sql).await.map(drop),
        }
    }
}
