//! The stock of keys to revoke: made beforehand, so that a burst does not wait for them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::World;
use super::history::Key;
use crate::chance::Chance;
use crate::client::{Client, may_be_repeated, new_key};
use crate::trouble::{Attempt as _, Trouble};

/// Keys kept in stock.
const STOCK: usize = 64;
/// Keys made at once.
const MADE_AT_ONCE: usize = 16;
/// How long to pause when there are enough.
const PAUSE: Duration = Duration::from_millis(20);

/// Who makes the keys.
pub(crate) struct Stock {
    pub(crate) world: Arc<World>,
    pub(crate) clients: Vec<Client>,
    pub(crate) chance: Chance,
    /// How long one call may take.
    pub(crate) call_limit: Duration,
}

impl Stock {
    /// Makes the keys that are never revoked.
    pub(crate) async fn make_control(&mut self, count: usize) -> Result<(), Trouble> {
        for _ in 0..count {
            let made = self.make().await?.ok_or("a key could not be made before the first fault")?;
            self.world.keys.add_control(made);
        }
        Ok(())
    }

    /// Keeps the stock filled for ever. What an outage keeps from being made is made later.
    pub(crate) async fn run(mut self) -> Result<(), Trouble> {
        loop {
            let wanted = STOCK.saturating_sub(self.world.keys.fresh()).min(MADE_AT_ONCE);
            let calls = (0..wanted).map(|_| self.make()).collect::<Vec<_>>();
            for key in futures_util::future::join_all(calls).await {
                if let Some(key) = key? {
                    self.world.keys.add_fresh(key);
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Makes a key. None when it is not known whether it was made: nobody has its token then.
    fn make(&mut self) -> impl Future<Output = Result<Option<Key>, Trouble>> + use<> {
        let client = self.chance.one_of(&self.clients).cloned();
        let (request_id, revocation) = (self.chance.name(), self.chance.name());
        let limit = self.call_limit;
        async move {
            let client = client.ok_or("no replicas")?;
            match timeout(limit, client.create_key(new_key(&request_id))).await {
                Ok(Ok(made)) => {
                    let id = made.key.map(|key| key.id).unwrap_or_default();
                    Ok(Some(Key::new(id, made.token, revocation)))
                }
                Ok(Err(status)) if !may_be_repeated(&status) => Err(status).attempt("CreateKey"),
                _ => Ok(None),
            }
        }
    }
}
