//! The bare commit: a transaction like that of a change, on separate tables, without contention.

use std::time::Duration;

use anyhow::{Context as _, Result};
use key_authority_testkit::clock::Clock;
use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection};

use crate::cluster::Cluster;
use crate::cluster::database::Kind;
use crate::cluster::session::Session;

/// The approximate length of a key's state in an audit event.
const STATE_LENGTH: usize = 500;

const LOCK: &str = "UPDATE bare_head SET revision = revision + 1 WHERE id = 1";

/// A session for bare commits.
#[derive(Debug)]
pub(crate) struct Bare {
    session: Session,
    clock: Clock,
    number: i64,
    state: String,
}

impl Bare {
    pub(crate) async fn prepare(cluster: &Cluster, clock: Clock) -> Result<Self> {
        let mut session = cluster.database.open().await?;
        let (bytes, text) =
            if cluster.plan.database == Kind::Postgres { ("bytea", "text") } else { ("varbinary(32)", "longtext") };
        for sql in [
            "CREATE TABLE bare_head (id integer PRIMARY KEY, revision bigint NOT NULL)".to_owned(),
            "INSERT INTO bare_head VALUES (1, 0)".to_owned(),
            "CREATE TABLE bare_key (id bigint PRIMARY KEY, revision bigint NOT NULL)".to_owned(),
            format!(
                "CREATE TABLE bare_event (revision bigint PRIMARY KEY, hash {bytes} NOT NULL, \
                 before_json {text} NOT NULL, after_json {text} NOT NULL)"
            ),
        ] {
            session.execute(&sql).await.context("cannot create the tables of the bare commit")?;
        }
        Ok(Self { session, clock, number: 0, state: "x".repeat(STATE_LENGTH) })
    }

    /// Takes the lock, changes a row, writes an event and commits; returns how long that took.
    pub(crate) async fn commit(&mut self) -> Result<Duration> {
        self.number += 1;
        let insert = format!("INSERT INTO bare_key VALUES ({}, 0)", self.number);
        self.session.execute(&insert).await.context("cannot insert the row to change")?;
        let began = self.clock.now();
        let done = match &mut self.session {
            Session::Postgres(session) => on_postgres(session, self.number, &self.state).await,
            Session::MariaDb(session) => on_mariadb(session, self.number, &self.state).await,
        };
        done.context("the bare commit failed")?;
        Ok(self.clock.since(began))
    }
}

async fn on_postgres(session: &mut PgConnection, number: i64, state: &str) -> Result<(), sqlx::Error> {
    let mut tx = session.begin().await?;
    tx.execute(sqlx::query(LOCK)).await?;
    tx.execute(sqlx::query("UPDATE bare_key SET revision = $1 WHERE id = $1").bind(number)).await?;
    let event = sqlx::query("INSERT INTO bare_event VALUES ($1, $2, $3, $4)");
    tx.execute(event.bind(number).bind(vec![7_u8; 32]).bind(state).bind(state)).await?;
    tx.commit().await
}

async fn on_mariadb(session: &mut MySqlConnection, number: i64, state: &str) -> Result<(), sqlx::Error> {
    let mut tx = session.begin().await?;
    tx.execute(sqlx::query(LOCK)).await?;
    tx.execute(sqlx::query("UPDATE bare_key SET revision = ? WHERE id = ?").bind(number).bind(number)).await?;
    let event = sqlx::query("INSERT INTO bare_event VALUES (?, ?, ?, ?)");
    tx.execute(event.bind(number).bind(vec![7_u8; 32]).bind(state).bind(state)).await?;
    tx.commit().await
}
