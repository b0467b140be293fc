//! The tasks that run beside the listeners: health, the flush of usage, and the care for an `SQLite` file.

use std::sync::Arc;
use std::time::Duration;

use key_authority_replica::ReplicaState;
use key_authority_replica::clock::boottime;
use key_authority_replica::usage::{FLUSH_INTERVAL, next_flush_delay};
use key_authority_storage::Store;
use key_authority_storage::sqlite_file::{ClaimedFile, SqliteFileError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::entropy;
use crate::observability::error_chain::whole;
use crate::rpc::health::Health;

/// How often health is updated. Calls themselves detect the end of a lease at once.
const HEALTH_INTERVAL: Duration = Duration::from_millis(50);
/// How often an `SQLite` file is looked at.
const FILE_INTERVAL: Duration = Duration::from_secs(1);
/// How often there is a checkpoint.
const CHECKPOINT_SECONDS: u64 = 60;
/// The size of the `-wal` from which there is a checkpoint at once. SQLite's own limit is the same.
const WAL_BYTES: u64 = 4 * 1024 * 1024;

pub(super) async fn first_lease(replica: &ReplicaState) {
    while !replica.has_lease() {
        sleep(HEALTH_INTERVAL).await;
    }
}

pub(super) async fn keep_health(health: Health, replica: Arc<ReplicaState>, ended: CancellationToken) {
    loop {
        // A replica that lacks a version of the secret cannot judge every token: others should get the calls.
        health.set_verify(replica.has_lease() && replica.index().missing_secret().is_none());
        health.set_storage(replica.storage_answers());
        if ended.run_until_cancelled(sleep(HEALTH_INTERVAL)).await.is_none() {
            return;
        }
    }
}

/// Makes checkpoints of an `SQLite` file: at the start, every minute, and when the `-wal` has grown.
pub(super) async fn keep_checkpoints(file: &'static ClaimedFile, store: Store, ended: CancellationToken) {
    let mut is_failing = false;
    for second in 0_u64.. {
        let is_large = file.wal_size().is_ok_and(|bytes| bytes > WAL_BYTES);
        // A file that was replaced gets no checkpoint.
        let unchanged = file.check_unchanged();
        let is_due = second.is_multiple_of(CHECKPOINT_SECONDS) || is_large || matches!(unchanged, Ok(true));
        if is_due && unchanged.is_ok() {
            let done = async {
                let random = entropy::bytes().map_err(|error| whole(&error))?;
                store.checkpoint(file, u32::from_ne_bytes(random)).await.map_err(|error| whole(&error))
            };
            match ended.run_until_cancelled(done).await {
                Some(Ok(_)) => is_failing = false,
                Some(Err(error)) if !std::mem::replace(&mut is_failing, true) => {
                    tracing::warn!(error, "cannot copy the -wal into the SQLite file; retrying");
                }
                Some(Err(error)) => tracing::debug!(error, "cannot copy the -wal into the SQLite file; retrying"),
                None => return,
            }
        }
        if ended.run_until_cancelled(sleep(FILE_INTERVAL)).await.is_none() {
            return;
        }
    }
}

/// Waits until another program replaces, removes or overwrites the database file, and returns the error.
pub(super) async fn watch_file(file: &ClaimedFile) -> SqliteFileError {
    loop {
        match file.check_unchanged() {
            Err(error @ SqliteFileError::Replaced { .. }) => return error,
            Err(error) => tracing::debug!(error = %whole(&error), "cannot look at the SQLite file"),
            Ok(_) => {}
        }
        sleep(FILE_INTERVAL).await;
    }
}

pub(super) async fn keep_usage(store: Store, replica: Arc<ReplicaState>, ended: CancellationToken) {
    let mut pause = FLUSH_INTERVAL;
    while ended.run_until_cancelled(sleep(pause)).await.is_some() {
        let began = boottime();
        if let Err(error) = replica.usage().flush(&store).await {
            tracing::debug!(error = %whole(&error), "cannot flush the usage of keys; retrying at the next flush");
        }
        pause = next_flush_delay(boottime().since(began));
    }
}
