//! The lease that all replicas agree on.

use std::time::Duration;

use key_authority_storage::{StorageError, Store};

use crate::clock::boottime;
use crate::protocol::observed::Observed;
use crate::protocol::timings::LeaseTimings;

/// How often a replica that wants another lease checks whether other replicas still run.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Why the replicas do not agree on a lease.
#[derive(Debug, thiserror::Error)]
pub enum AgreementError {
    /// Other replicas run with another lease.
    #[error(
        "--lease is {configured:?} but the database has {stored:?}, which replica {running} uses; all replicas must \
         agree: stop all replicas to change it, or omit --lease"
    )]
    OtherLease {
        /// The lease in this replica's configuration.
        configured: Duration,
        /// The lease in the database.
        stored: Duration,
        /// A replica that runs with the stored lease.
        running: String,
    },
    /// The registry could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl LeaseTimings {
    /// Returns the timings that all replicas use: those of the `configured` lease, unless a replica runs with another
    /// one.
    ///
    /// A replica that was killed leaves its row behind. The row counts as silent only after it has not changed for the
    /// length of the stored lease, so the call can take that long.
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
                tracing::info!(
                    replicas = rows.len(),
                    ?stored,
                    "checking whether replicas with another lease still run"
                );
            }
            for silent in rows.iter().filter(|row| observed.is_silent(row, stored, now)) {
                store.fence(silent.id, silent.nonce).await?;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}
