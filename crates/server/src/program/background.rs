//! The tasks that run beside the listeners: health, the flush of usage, and the care for an `SQLite` file.

use std::sync::Arc;
use std::time::Duration;

use key_authority_domain::id::Revision;
use key_authority_replica::ReplicaState;
use key_authority_replica::clock::boottime;
use key_authority_replica::usage::{FLUSH_INTERVAL, next_flush_delay};
use key_authority_storage::Store;
use key_authority_storage::sqlite_file::{ClaimedFile, SqliteFileError};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::entropy;
use crate::observability::error_chain::whole;
use crate::rpc::health::{Health, VerifyState};

/// How often health is updated. Calls themselves detect the end of a lease at once.
const HEALTH_INTERVAL: Duration = Duration::from_millis(50);
/// How often an `SQLite` file is looked at.
const FILE_INTERVAL: Duration = Duration::from_secs(1);
/// How often there is a checkpoint.
const CHECKPOINT_SECONDS: u64 = 60;
/// How soon a checkpoint that was not complete is tried again: a reader needed the `-wal`, or the disk was full.
const RETRY_SECONDS: u64 = 5;
/// The growth of the `-wal` since the last checkpoint after which there is one at once. SQLite's own limit is the same.
const WAL_BYTES: u64 = 4 * 1024 * 1024;

pub(super) async fn first_lease(replica: &ReplicaState) {
    while !replica.has_lease() {
        sleep(HEALTH_INTERVAL).await;
    }
}

pub(super) async fn keep_health(health: Health, replica: Arc<ReplicaState>, ended: CancellationToken) {
    let mut was_ready = false;
    loop {
        let has_lease = replica.has_lease();
        was_ready |= has_lease;
        health.set_verify(match replica.index().missing_secret() {
            _ if !has_lease && replica.applied() == Revision(0) => VerifyState::NoAuthority,
            _ if !has_lease && !was_ready => VerifyState::Starting,
            _ if !has_lease => VerifyState::NoLease,
            // The replica cannot verify every token: others should get the calls.
            Some(missing) => VerifyState::SecretVersionMissing(missing.version),
            None => VerifyState::Ready,
        });
        health.set_storage(replica.storage_answers());
        if ended.run_until_cancelled(sleep(HEALTH_INTERVAL)).await.is_none() {
            return;
        }
    }
}

/// Makes checkpoints of an `SQLite` file until `ended`: at the start, every minute, when the `-wal` has grown, and when
/// another program has made one. Returns an error if another program replaces, removes or overwrites the file.
pub(super) async fn keep_file(
    file: &'static ClaimedFile,
    store: Store,
    ended: CancellationToken,
) -> Option<SqliteFileError> {
    let (mut is_failing, mut size_before, mut due) = (false, None, 0);
    for second in 0_u64.. {
        // Looking at a file blocks the thread.
        let look = move || (file.check_unchanged(), file.wal_size().unwrap_or_default());
        let Ok((unchanged, size)) = spawn_blocking(look).await else { return None };
        // SQLite uses a `-wal` again from its beginning, so that it has its size also after a checkpoint.
        let has_grown = size > *size_before.get_or_insert(size) + WAL_BYTES;
        let is_due = match unchanged {
            Err(error @ SqliteFileError::Replaced { .. }) => return Some(error),
            Err(error) => {
                tracing::debug!(error = %whole(&error), "cannot look at the SQLite file");
                false
            }
            Ok(is_changed) => is_changed || has_grown || second >= due,
        };
        if is_due {
            size_before = None;
            let checkpoint = checkpoint(file, &store).await;
            due = second + if matches!(checkpoint, Ok(true)) { CHECKPOINT_SECONDS } else { RETRY_SECONDS };
            match checkpoint {
                Ok(_) => is_failing = false,
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::warn!(error, "cannot copy the -wal into the SQLite file; retrying");
                }
                Err(error) => tracing::debug!(error, "cannot copy the -wal into the SQLite file; retrying"),
            }
        }
        ended.run_until_cancelled(sleep(FILE_INTERVAL)).await?;
    }
    None
}

async fn checkpoint(file: &'static ClaimedFile, store: &Store) -> Result<bool, String> {
    let random = entropy::bytes().map_err(|error| whole(&error))?;
    store.checkpoint(file, u32::from_ne_bytes(random)).await.map_err(|error| whole(&error))
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
