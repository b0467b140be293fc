//! A set of keys in the memory of this process, as a server holds it, for measurements without a network.

use key_authority_server::testing::{
    Authentication, Authenticator, Authorizer, DESCRIPTOR_SETS, MethodTable, Metrics, SharedMetrics, Verifier, entropy,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use key_authority_domain::secret::Keyring;
use key_authority_domain::verdict::Verdict;
use key_authority_replica::ReplicaState;
use key_authority_replica::protocol::timings::LeaseTimings;
use key_authority_replica::replicator::{ReplicaConfig, Replicator, Settings};
use key_authority_storage::Store;
use tempfile::TempDir;

use crate::fill::Authority;
use crate::key_set::KeySet;

/// Keys in memory, under a lease that a replicator renews.
pub struct Resident {
    /// The replica's index and lease.
    pub view: Arc<ReplicaState>,
    /// The keys of the authority secret.
    pub keyring: Arc<Keyring>,
    /// Authorizes the caller.
    pub callers: Authorizer,
    /// The handlers of Verify.
    pub verifier: Verifier,
    /// The keys.
    pub key_set: KeySet,
    _replicator: Replicator,
    _folder: TempDir,
}

impl Resident {
    /// Creates `keys` keys and loads them.
    ///
    /// # Errors
    /// When they cannot be created or loaded.
    pub async fn load(keys: u64) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("key-authority-bench-").tempdir()?;
        let authority = Box::pin(Authority::make(&folder.path().join("keys"), None, KeySet::new(keys))).await?;
        Self::of(&authority, folder).await
    }

    /// The same, with keys that stay in `folder` for the next run.
    ///
    /// # Errors
    /// When they cannot be created or loaded.
    pub async fn kept(keys: u64, folder: &Path) -> Result<Self> {
        let authority = Box::pin(Authority::make(&folder.join(keys.to_string()), None, KeySet::new(keys))).await?;
        Self::of(&authority, tempfile::tempdir()?).await
    }

    async fn of(authority: &Authority, folder: TempDir) -> Result<Self> {
        let keyring = Arc::new(Authority::keyring()?);
        let store = Store::connect(&authority.url(), 1, Arc::clone(&keyring)).await?;
        let replicator = Replicator::start(Settings {
            database_url: authority.url(),
            notify_url: None,
            keyring: Arc::clone(&keyring),
            replica: ReplicaConfig {
                timings: LeaseTimings::agree(&store, None).await?,
                is_alone: false,
                build: "bench".into(),
                address: "nowhere".into(),
                entropy: |bytes| entropy::fill(bytes).map_err(std::io::Error::other),
            },
        })?;
        let view = Arc::clone(replicator.state());
        while !view.has_lease() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let methods = MethodTable::from_descriptor_sets(DESCRIPTOR_SETS.iter().copied())?;
        let metrics = SharedMetrics::new(Metrics::new("bench", &methods, &Verdict::ALL.map(Verdict::as_str)));
        let callers = Authorizer::new(Arc::clone(&view), false);
        let verifier = Verifier::new(Arc::clone(&view), Arc::clone(&keyring), metrics);
        Ok(Self {
            view,
            keyring,
            callers,
            verifier,
            key_set: authority.key_set,
            _replicator: replicator,
            _folder: folder,
        })
    }

    /// The authenticated caller, as a connection keeps it after its first call.
    ///
    /// # Errors
    /// When the caller's token is invalid.
    pub fn credential(&self) -> Result<Authentication> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {}", self.key_set.caller()?.reveal()).parse()?);
        Ok(Authenticator::new(Arc::clone(&self.keyring), None).authenticate(&headers))
    }
}
