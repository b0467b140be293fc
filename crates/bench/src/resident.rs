//! A stock of keys resident in this process, as a server has them, for measuring what happens between the wire and the
//! answer.

use key_authority_server::testing::{
    Authentication, Authenticator, Authorizer, DESCRIPTOR_SETS, MethodTable, Metrics, SharedMetrics, Verifier, entropy,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

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
use crate::stock::Stock;
use crate::trouble::Trouble;

/// Keys in memory, under a lease that is kept up.
pub struct Resident {
    /// What a replica knows.
    pub view: Arc<ReplicaState>,
    /// The keys of the authority secret.
    pub keyring: Arc<Keyring>,
    /// Who asks.
    pub callers: Authorizer,
    /// The handlers, as a server has them.
    pub verifier: Verifier,
    /// The keys.
    pub stock: Stock,
    _replicator: Replicator,
    _folder: TempDir,
}

impl Resident {
    /// Makes `keys` keys, and loads them.
    ///
    /// # Errors
    /// When they could not be made.
    pub async fn load(keys: u64) -> Result<Self, Trouble> {
        let folder = tempfile::Builder::new().prefix("key-authority-bench-").tempdir()?;
        let authority = Box::pin(Authority::make(&folder.path().join("stock"), None, Stock::new(keys))).await?;
        Self::of(&authority, folder).await
    }

    /// The same, of keys that are kept in `stock` for the next time.
    ///
    /// # Errors
    /// When they could not be made.
    pub async fn kept(keys: u64, stock: &Path) -> Result<Self, Trouble> {
        let authority = Box::pin(Authority::make(&stock.join(keys.to_string()), None, Stock::new(keys))).await?;
        Self::of(&authority, tempfile::tempdir()?).await
    }

    async fn of(authority: &Authority, folder: TempDir) -> Result<Self, Trouble> {
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
        Ok(Self { view, keyring, callers, verifier, stock: authority.stock, _replicator: replicator, _folder: folder })
    }

    /// Who asks, as a connection knows it after its first call.
    ///
    /// # Errors
    /// When the caller's token is none.
    pub fn credential(&self) -> Result<Authentication, Trouble> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {}", self.stock.caller()?.reveal()).parse()?);
        Ok(Authenticator::new(Arc::clone(&self.keyring), None).authenticate(&headers))
    }
}
