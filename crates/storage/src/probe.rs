//! What a database URL leads to: how many sessions are free, and whether a pooler shares them. It is tried with
//! sessions that are closed again before the pools are opened.

use std::time::Duration;

use sea_orm::sqlx::{Connection, Error, Executor, MySqlConnection, PgConnection, Row};
use sea_orm::{DbBackend, DbErr, RuntimeErr};
use tokio::task::JoinSet;

use crate::error::StorageError;
use crate::server_options;
use crate::session::{ACQUIRE_TIMEOUT, backend_of};
use crate::store::RETRY_INTERVAL;
use crate::timeout::bounded;

/// What a database URL leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The number of sessions that the database accepted, at most the number that was asked for.
    pub sessions: u32,
    /// Whether a pooler gives one session of the server to several clients in turn (transaction or statement pooling).
    /// Settings of a session and prepared statements do not work there.
    pub are_shared: bool,
}

/// Pause after an attempt that opened some of the sessions: other clients want them too.
const PARTIAL_INTERVAL: Duration = Duration::from_millis(500);

/// Tries to open `wanted` sessions at once. A database that does not answer, or accepts fewer, may be starting, or may
/// still have the sessions of an earlier process, so that it is tried for a few seconds. Then the best attempt counts.
///
/// # Errors
/// [`StorageError::TooManyConnections`] if the database accepts no session of this user now; any other error if it
/// cannot be reached or refuses the user.
pub async fn probe(url: &str, wanted: u32) -> Result<Probe, StorageError> {
    let mut best = Err(StorageError::TimedOut);
    let attempts = async {
        loop {
            let pause = match probe_once(url, wanted).await {
                Ok(probe) if probe.sessions < wanted && !probe.are_shared => {
                    let most = best.as_ref().map_or(0, |best: &Probe| best.sessions);
                    if probe.sessions > most {
                        best = Ok(probe);
                    }
                    PARTIAL_INTERVAL
                }
                Err(
                    error @ (StorageError::Unavailable(_)
                    | StorageError::TooManyConnections(_)
                    | StorageError::TimedOut),
                ) => {
                    if best.is_err() {
                        best = Err(error);
                    }
                    RETRY_INTERVAL
                }
                probed => return probed,
            };
            tokio::time::sleep(pause).await;
        }
    };
    let probed = tokio::time::timeout(ACQUIRE_TIMEOUT, attempts).await;
    probed.unwrap_or(best)
}

async fn probe_once(url: &str, wanted: u32) -> Result<Probe, StorageError> {
    match backend_of(url) {
        Some(DbBackend::Postgres) => {
            let mut opened = open::<PgConnection>(server_options::postgres(url), wanted).await?;
            let are_shared = match opened.as_mut_slice() {
                [first, second, ..] => bounded(async { are_shared(first, second).await.map_err(of_driver) }).await?,
                _ => false,
            };
            Ok(Probe { sessions: close(opened).await, are_shared })
        }
        Some(DbBackend::MySql) => {
            let opened = open::<MySqlConnection>(server_options::mysql(url), wanted).await?;
            Ok(Probe { sessions: close(opened).await, are_shared: false })
        }
        _ => Ok(Probe { sessions: wanted, are_shared: false }),
    }
}

/// Opens at most `wanted` sessions. That there are too few is an error only if there is none.
async fn open<C: Connection + 'static>(
    options: Result<C::Options, Error>,
    wanted: u32,
) -> Result<Vec<C>, StorageError> {
    let options = options.map_err(of_driver)?;
    let mut attempts = JoinSet::new();
    for _ in 0..wanted {
        let options = options.clone();
        attempts.spawn(bounded(async move { C::connect_with(&options).await.map_err(of_driver) }));
    }
    let (mut opened, mut refused) = (Vec::new(), None);
    for attempt in attempts.join_all().await {
        match attempt {
            Ok(session) => opened.push(session),
            Err(error @ StorageError::TooManyConnections(_)) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    match refused {
        Some(error) if opened.is_empty() => Err(error),
        _ => Ok(opened),
    }
}

/// Closes the sessions, and returns their number.
async fn close(sessions: Vec<impl Connection>) -> u32 {
    let mut count = 0;
    for session in sessions {
        count += 1;
        if let Err(error) = session.close().await {
            tracing::debug!(%error, "cannot close a database session cleanly");
        }
    }
    count
}

/// Whether two sessions are not sessions of their own: a setting of the first is visible in the second, or is lost
/// while the second has a transaction. The statements are sent without being prepared.
async fn are_shared(first: &mut PgConnection, second: &mut PgConnection) -> Result<bool, Error> {
    const READ: &str = "SELECT COALESCE(current_setting('key_authority.probe', true), '')";
    first.execute("SELECT set_config('key_authority.probe', 'set', false)").await?;
    if second.fetch_one(READ).await?.try_get::<String, _>(0)? == "set" {
        second.execute("RESET key_authority.probe").await?;
        return Ok(true);
    }
    second.execute("BEGIN").await?;
    let is_kept = first.fetch_one(READ).await?.try_get::<String, _>(0)? == "set";
    second.execute("ROLLBACK").await?;
    first.execute("RESET key_authority.probe").await?;
    Ok(!is_kept)
}

fn of_driver(error: Error) -> StorageError {
    DbErr::Conn(RuntimeErr::SqlxError(error.into())).into()
}
