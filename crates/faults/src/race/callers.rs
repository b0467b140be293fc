//! Callers that are revoked while their own changes are in flight. No change of a caller may follow its revocation in
//! the audit log, at any replica and under any fault.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use key_authority_testkit::rng::SeededRng;
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use tokio::time::{sleep, timeout};

use super::World;
use crate::client::{Client, is_retryable, new_key};

/// Changes of a caller in flight at each replica.
const CHANGES: usize = 12;
/// The longest time from the first change of a caller to its revocation.
const HEAD_START: Duration = Duration::from_millis(60);
/// The longest pause between two callers.
const PAUSE: Duration = Duration::from_secs(2);
/// The pause before a retry.
const RETRY_DELAY: Duration = Duration::from_millis(30);

/// A caller whose revocation returned.
#[derive(Debug, Clone)]
pub(crate) struct RevokedCaller {
    /// The ID of its key.
    pub(crate) key_id: String,
    /// The revision of its revocation.
    pub(crate) revision: u64,
}

/// The callers that were revoked so far.
#[derive(Debug, Default)]
pub(crate) struct RevokedCallers(Mutex<Vec<RevokedCaller>>);

impl RevokedCallers {
    pub(crate) fn all(&self) -> Vec<RevokedCaller> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Creates callers, lets them make changes, and revokes them meanwhile.
pub(crate) struct CallerRace {
    pub(crate) world: Arc<World>,
    pub(crate) clients: Vec<Client>,
    /// The addresses of the replicas.
    pub(crate) addresses: Vec<String>,
    pub(crate) rng: SeededRng,
    /// The timeout of one call, before it is retried elsewhere.
    pub(crate) call_limit: Duration,
}

impl CallerRace {
    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) -> Result<()> {
        loop {
            let client = self.clients.choose(&mut self.rng).cloned().context("no replicas")?;
            match timeout(self.call_limit, client.create_key_writer(&self.rng.name())).await {
                Ok(Ok((key_id, token))) => self.round(key_id, &token).await?,
                Ok(Err(status)) if !is_retryable(&status) => {
                    return Err(status).context("CreateKey of a caller failed");
                }
                // An outage, or an unknown outcome: without its token the caller is of no use.
                _ => {}
            }
            sleep(self.rng.random_range(Duration::ZERO..=PAUSE)).await;
        }
    }

    async fn round(&mut self, key_id: String, token: &str) -> Result<()> {
        let mut changes = tokio::task::JoinSet::new();
        for address in &self.addresses {
            let caller = Client::new(address, token)?;
            for _ in 0..CHANGES {
                let (caller, request_id, limit) = (caller.clone(), self.rng.name(), self.call_limit);
                changes.spawn(async move { timeout(limit, caller.create_key(new_key(&request_id))).await });
            }
        }
        sleep(self.rng.random_range(Duration::ZERO..=HEAD_START)).await;
        let request_id = self.rng.name();
        let revision = loop {
            let client = self.clients.choose(&mut self.rng).cloned().context("no replicas")?;
            match timeout(self.call_limit, client.revoke(&key_id, &request_id)).await {
                Ok(Ok(answer)) => break answer.propagation.context("the response has no propagation")?.revision,
                Ok(Err(status)) if !is_retryable(&status) => {
                    return Err(status).context("RevokeKey of a caller failed");
                }
                _ => sleep(RETRY_DELAY).await,
            }
        };
        let callers = &self.world.callers.0;
        callers.lock().unwrap_or_else(PoisonError::into_inner).push(RevokedCaller { key_id, revision });
        // The answers do not matter: the audit log shows the effects.
        changes.join_all().await;
        Ok(())
    }
}
