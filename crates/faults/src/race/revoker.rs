//! The one who revokes: in bursts, many at once, keys that have been found valid. Only OK counts as returned; whatever else
//! comes, the same call is made again at another replica.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use key_authority_proto::v1::{Propagation, PropagationState, RevokeKeyResponse};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::World;
use super::history::Key;
use super::phases::Phase;
use crate::chance::Chance;
use crate::client::{Client, may_be_repeated, reason};
use crate::clock::seconds;
use crate::progress::say;
use crate::stats;
use crate::trouble::{Attempt as _, Trouble};

/// The largest burst.
const BURST: usize = 16;
/// The longest time from a burst to the next; half of it on average.
const BETWEEN_BURSTS: Duration = Duration::from_secs(4);
/// Revocations in flight at most.
const IN_FLIGHT: usize = 64;
/// How many of the slowest are told.
const SLOWEST: usize = 10;
/// How long to pause before a call is made again.
const AGAIN: Duration = Duration::from_millis(30);

/// What came of the revocations.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    /// How many returned OK.
    pub(crate) returned: AtomicU64,
    /// How many of them had seen every replica confirm.
    pub(crate) confirmed: AtomicU64,
    /// How many had waited a silent replica out.
    pub(crate) lapsed: AtomicU64,
    /// Calls that had to be made again, by what they got.
    pub(crate) again: Mutex<BTreeMap<String, u64>>,
    /// From the first invocation to OK, in microseconds, by what the nemesis did meanwhile.
    pub(crate) latency: Mutex<BTreeMap<Phase, Histogram<u64>>>,
    /// Those that took longest, and what each call for them got.
    pub(crate) slowest: Mutex<Vec<Slow>>,
    /// Every key that was revoked.
    pub(crate) keys: Mutex<Vec<Arc<Key>>>,
    /// A burst is wanted: a fault begins or ends.
    pub(crate) wanted: Notify,
}

/// A revocation that took long.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Slow {
    took_ms: u64,
    phase: Phase,
    /// When each call for it was made, in seconds of the race, where, how long it took, and what it got.
    calls: Vec<String>,
}

/// The revoker.
pub(crate) struct Revoker {
    pub(crate) world: Arc<World>,
    pub(crate) clients: Vec<Client>,
    pub(crate) chance: Chance,
    /// How long one call may take before it is made elsewhere.
    pub(crate) call_limit: Duration,
}

impl Revoker {
    /// Revokes until told that it is enough; then ends when all that it began has returned.
    pub(crate) async fn run(mut self, enough: &Notify) -> Result<(), Trouble> {
        let mut revocations = JoinSet::new();
        loop {
            let pause = self.chance.between(Duration::ZERO, BETWEEN_BURSTS);
            tokio::select! {
                () = enough.notified() => break,
                () = sleep(pause) => {}
                () = self.world.revoked.wanted.notified() => {}
            }
            for _ in 0..=self.chance.below(BURST) {
                while revocations.len() >= IN_FLIGHT {
                    joined(revocations.join_next().await)?;
                }
                let Some(key) = self.world.keys.take() else { break };
                revocations.spawn(self.revocation(key));
            }
            while let Some(done) = revocations.try_join_next() {
                joined(Some(done))?;
            }
            self.world.keys.age(self.world.history.clock);
        }
        while let Some(done) = revocations.join_next().await {
            joined(Some(done))?;
        }
        Ok(())
    }

    fn revocation(&mut self, key: Arc<Key>) -> impl Future<Output = Result<(), Trouble>> + Send + use<> {
        let (world, clients, limit) = (Arc::clone(&self.world), self.clients.clone(), self.call_limit);
        let mut chance = self.chance.fork();
        async move {
            // Some race with the questions that a burst finds on their way, some with the burst's own ends.
            sleep(chance.between(Duration::ZERO, Duration::from_millis(50))).await;
            let clock = world.history.clock;
            let invoked = clock.now();
            key.note_invoked(invoked);
            let mut calls = Vec::new();
            loop {
                let called = clock.now();
                let index = chance.below(clients.len());
                let client = clients.get(index).ok_or("no replicas")?;
                let answer = timeout(limit, client.revoke(&key.id, &key.request_id)).await;
                let returned = clock.now();
                let got = match answer {
                    Ok(Ok(answer)) => {
                        key.note_returned(returned);
                        calls.push(told(called, index, returned, "OK"));
                        let phase = world.history.phases.during(invoked, returned);
                        world.revoked.note(&key, &answer, phase, returned - invoked, calls);
                        return Ok(());
                    }
                    Ok(Err(status)) if !may_be_repeated(&status) => return Err(status).attempt("RevokeKey"),
                    Ok(Err(status)) => reason(&status),
                    Err(_) => "no answer in time".to_owned(),
                };
                calls.push(told(called, index, returned, &got));
                world.revoked.note_again(got);
                sleep(AGAIN).await;
            }
        }
    }
}

fn told(called: u64, index: usize, returned: u64, got: &str) -> String {
    let (at, took) = (seconds(called), seconds(returned - called));
    format!("{at:.3} s at replica {}, {took:.3} s: {got}", index + 1)
}

fn joined(done: Option<Result<Result<(), Trouble>, tokio::task::JoinError>>) -> Result<(), Trouble> {
    done.map_or(Ok(()), |done| done.attempt("a revocation")?)
}

impl Revoked {
    fn note(&self, key: &Arc<Key>, answer: &RevokeKeyResponse, phase: Phase, nanos: u64, calls: Vec<String>) {
        let state = answer.propagation.as_ref().map(Propagation::state);
        match state {
            Some(PropagationState::Confirmed) => self.confirmed.fetch_add(1, Ordering::Relaxed),
            Some(PropagationState::Lapsed) => self.lapsed.fetch_add(1, Ordering::Relaxed),
            _ => {
                say!("a revocation returned OK without saying how it came to be everywhere: {answer:?}");
                0
            }
        };
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(key));
        let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        latency.entry(phase).or_insert_with(stats::histogram).saturating_record(nanos / 1_000);
        let mut slowest = self.slowest.lock().unwrap_or_else(PoisonError::into_inner);
        slowest.push(Slow { took_ms: nanos / 1_000_000, phase, calls });
        slowest.sort_by_key(|slow| std::cmp::Reverse(slow.took_ms));
        slowest.truncate(SLOWEST);
        self.returned.fetch_add(1, Ordering::Relaxed);
    }

    fn note_again(&self, reason: String) {
        *self.again.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }
}
