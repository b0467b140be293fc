//! The tasks that run beside the listeners: health and the flush of usage.

use std::sync::Arc;
use std::time::Duration;

use key_authority_replica::ReplicaState;
use key_authority_replica::clock::boottime;
use key_authority_replica::usage::{FLUSH_INTERVAL, next_flush_delay};
use key_authority_storage::Store;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::observability::error_chain::whole;
use crate::rpc::health::Health;

/// How often health is updated. Calls themselves detect the end of a lease at once.
const HEALTH_INTERVAL: Duration = Duration::from_millis(50);

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
