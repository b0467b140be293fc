//! How the replicas agree on one lease.

use std::time::Duration;

use key_authority_storage::{StorageError, Store};

use crate::clock::boottime;
use crate::protocol::observed::Observed;
use crate::protocol::timings::LeaseTimings;

/// How often a replica that would change the lease looks whether another still runs.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Why there is no agreement.
#[derive(Debug, thiserror::Error)]
pub enum AgreementError {
    /// Other replicas run with another lease.
    #[error(
        "the lease is {configured:?} here and {stored:?} in the database, where replica {running} keeps to it; all must \
         agree: stop them all to change it, or leave --lease out"
    )]
    OtherLease {
        /// What was configured.
        configured: Duration,
        /// What the database says.
        stored: Duration,
        /// A replica that runs.
        running: String,
    },
    /// Nobody could look.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl LeaseTimings {
    /// The timings that all replicas keep to: those of the `configured` lease, unless a replica runs with another. One that
    /// was killed has left its row behind; it takes the length of the stored lease to tell that it does not run.
    ///
    /// # Errors
    /// [`AgreementError`].
    pub async fn agree(store: &Store, configured: Option<Duration>) -> Result<Self, AgreementError> {
        let mut observed = Observed::default();
        loop {
            let stored = store.lease().await?;
            let Some(configured) = configured.filter(|configured| *configured != stored) else {
                return Ok(Self::new(stored));
            };
            if store.set_lease(configured).await? {
                return Ok(Self::new(configured));
            }
            let rows = store.replicas().await?;
            let now = boottime();
            if let Some(running) = rows.iter().find(|row| observed.has_changed(row)) {
                return Err(AgreementError::OtherLease { configured, stored, running: running.id.to_string() });
            }
            if observed.note(&rows, now) {
                tracing::info!(replicas = rows.len(), ?stored, "waiting whether replicas with another lease still run");
            }
            for silent in rows.iter().filter(|row| observed.is_silent(row, stored, now)) {
                store.fence(silent.id, silent.nonce).await?;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}
