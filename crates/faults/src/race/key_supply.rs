//! The supply of keys to revoke. They are created in advance, so that a burst does not wait for them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use key_authority_testkit::rng::SeededRng;
use rand::seq::IndexedRandom as _;
use tokio::time::{sleep, timeout};

use super::World;
use super::history::Key;
use crate::client::{Client, is_retryable, new_key};

/// Keys in supply.
const SUPPLY: usize = 64;
/// Keys to create concurrently.
const CREATE_CONCURRENCY: usize = 16;
/// The pause between two looks at the supply.
const PAUSE: Duration = Duration::from_millis(20);

/// Creates the keys.
pub(crate) struct KeySupply {
    pub(crate) world: Arc<World>,
    pub(crate) clients: Vec<Client>,
    pub(crate) rng: SeededRng,
    /// The timeout of one call.
    pub(crate) call_limit: Duration,
}

impl KeySupply {
    /// Creates the control keys, which are never revoked.
    pub(crate) async fn create_control(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let key = self.create().await?.context("CreateKey failed before the first fault")?;
            self.world.keys.add_control(key);
        }
        Ok(())
    }

    /// Keeps the supply filled until it is dropped. An outage delays it.
    pub(crate) async fn run(mut self) -> Result<()> {
        loop {
            let wanted = SUPPLY.saturating_sub(self.world.keys.fresh()).min(CREATE_CONCURRENCY);
            let calls = (0..wanted).map(|_| self.create()).collect::<Vec<_>>();
            for key in futures_util::future::join_all(calls).await {
                if let Some(key) = key? {
                    self.world.keys.add_fresh(key);
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Creates a key. None if the outcome is unknown, because its token is lost then.
    fn create(&mut self) -> impl Future<Output = Result<Option<Key>>> + use<> {
        let client = self.clients.choose(&mut self.rng).cloned();
        let (request_id, revocation) = (self.rng.name(), self.rng.name());
        let limit = self.call_limit;
        async move {
            let client = client.context("no replicas")?;
            match timeout(limit, client.create_key(new_key(&request_id))).await {
                Ok(Ok(created)) => {
                    let id = created.key.map(|key| key.id).unwrap_or_default();
                    Ok(Some(Key::new(id, created.token, revocation)))
                }
                Ok(Err(status)) if !is_retryable(&status) => Err(status).context("CreateKey failed"),
                _ => Ok(None),
            }
        }
    }
}
