//! Callers of the authority that are revoked amid their own changes. No change by a caller may follow its revocation in the
//! log, at any replica and under any fault.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::World;
use crate::chance::Chance;
use crate::client::{Client, may_be_repeated, new_key};
use crate::trouble::{Attempt as _, Trouble};

/// Changes that a caller has on their way at each replica.
const CHANGES: usize = 12;
/// The longest time from a caller's first change to its revocation.
const HEAD_START: Duration = Duration::from_millis(60);
/// The longest pause between two callers.
const PAUSE: Duration = Duration::from_secs(2);
/// How long to pause before a call is made again.
const AGAIN: Duration = Duration::from_millis(30);

/// A caller whose revocation has returned.
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

/// Makes callers, lets them change things, and revokes them amid that.
pub(crate) struct CallerRace {
    pub(crate) world: Arc<World>,
    pub(crate) clients: Vec<Client>,
    /// Where the replicas listen.
    pub(crate) addresses: Vec<String>,
    pub(crate) chance: Chance,
    /// How long one call may take before it is made elsewhere.
    pub(crate) call_limit: Duration,
}

impl CallerRace {
    /// Goes on for ever.
    pub(crate) async fn run(mut self) -> Result<(), Trouble> {
        loop {
            let client = self.chance.one_of(&self.clients).cloned().ok_or("no replicas")?;
            match timeout(self.call_limit, client.create_changer(&self.chance.name())).await {
                Ok(Ok((key_id, token))) => self.round(key_id, &token).await?,
                Ok(Err(status)) if !may_be_repeated(&status) => return Err(status).attempt("CreateKey of a caller"),
                // An outage, or nobody has its token.
                _ => {}
            }
            sleep(self.chance.between(Duration::ZERO, PAUSE)).await;
        }
    }

    async fn round(&mut self, key_id: String, token: &str) -> Result<(), Trouble> {
        let mut changes = tokio::task::JoinSet::new();
        for address in &self.addresses {
            let caller = Client::new(address, token)?;
            for _ in 0..CHANGES {
                let (caller, request_id, limit) = (caller.clone(), self.chance.name(), self.call_limit);
                changes.spawn(async move { timeout(limit, caller.create_key(new_key(&request_id))).await });
            }
        }
        sleep(self.chance.between(Duration::ZERO, HEAD_START)).await;
        let request_id = self.chance.name();
        let revision = loop {
            let client = self.chance.one_of(&self.clients).cloned().ok_or("no replicas")?;
            match timeout(self.call_limit, client.revoke(&key_id, &request_id)).await {
                Ok(Ok(answer)) => break answer.propagation.ok_or("no propagation")?.revision,
                Ok(Err(status)) if !may_be_repeated(&status) => return Err(status).attempt("RevokeKey of a caller"),
                _ => sleep(AGAIN).await,
            }
        };
        let callers = &self.world.callers.0;
        callers.lock().unwrap_or_else(PoisonError::into_inner).push(RevokedCaller { key_id, revision });
        // Their answers do not matter: the log shows what was done.
        changes.join_all().await;
        Ok(())
    }
}
