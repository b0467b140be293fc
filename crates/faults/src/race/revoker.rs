//! Revokes keys that were found valid, in bursts of concurrent calls. Only OK counts as returned; after any retryable
//! error the same call is made again at a random replica.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use key_authority_proto::v1::{Propagation, PropagationState, RevokeKeyResponse};
use key_authority_testkit::clock::seconds;
use key_authority_testkit::rng::SeededRng;
use key_authority_testkit::say;
use rand::RngExt as _;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::World;
use super::history::Key;
use super::phases::Phase;
use crate::client::{Client, is_retryable, reason};
use crate::stats;

/// The largest burst.
const BURST: usize = 16;
/// The longest time from a burst to the next; half of it on average.
const BETWEEN_BURSTS: Duration = Duration::from_secs(4);
/// Revocations in flight at most.
const IN_FLIGHT: usize = 64;
/// How many of the slowest revocations are reported.
const SLOWEST: usize = 10;
/// The pause before a retry.
const RETRY_DELAY: Duration = Duration::from_millis(30);

/// The results of the revocations.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    /// Revocations that returned OK.
    pub(crate) returned: AtomicU64,
    /// Those that every replica confirmed.
    pub(crate) confirmed: AtomicU64,
    /// Those that waited for a lease to expire.
    pub(crate) lapsed: AtomicU64,
    /// Retried calls, by reason.
    pub(crate) retries: Mutex<BTreeMap<String, u64>>,
    /// The time from the first call to OK in microseconds, by phase.
    pub(crate) latency: Mutex<BTreeMap<Phase, Histogram<u64>>>,
    /// The slowest revocations, with the outcome of each call.
    pub(crate) slowest: Mutex<Vec<Slow>>,
    /// Every revoked key.
    pub(crate) keys: Mutex<Vec<Arc<Key>>>,
    /// Requests a burst: a fault begins or ends.
    pub(crate) wanted: Notify,
}

/// A slow revocation.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Slow {
    took_ms: u64,
    phase: Phase,
    /// Each call: its start in seconds of the race, replica, duration and outcome.
    calls: Vec<String>,
}

/// Revokes keys.
pub(crate) struct Revoker {
    pub(crate) world: Arc<World>,
    pub(crate) clients: Vec<Client>,
    pub(crate) rng: SeededRng,
    /// The timeout of one call, before it is retried elsewhere.
    pub(crate) call_limit: Duration,
}

impl Revoker {
    /// Revokes until `enough` is notified; then waits for the open revocations.
    pub(crate) async fn run(mut self, enough: &Notify) -> Result<()> {
        let mut revocations = JoinSet::new();
        loop {
            let pause = self.rng.random_range(Duration::ZERO..=BETWEEN_BURSTS);
            tokio::select! {
                () = enough.notified() => break,
                () = sleep(pause) => {}
                () = self.world.revoked.wanted.notified() => {}
            }
            for _ in 0..=self.rng.random_range(0..BURST) {
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

    fn revocation(&mut self, key: Arc<Key>) -> impl Future<Output = Result<()>> + Send + use<> {
        let (world, clients, limit) = (Arc::clone(&self.world), self.clients.clone(), self.call_limit);
        let mut rng = self.rng.fork();
        async move {
            // A random delay, so that some race with open Verifies and some with the returns of the same burst.
            sleep(rng.random_range(Duration::ZERO..=Duration::from_millis(50))).await;
            let clock = world.history.clock;
            let invoked = clock.now();
            key.note_invoked(invoked);
            let mut calls = Vec::new();
            loop {
                let called = clock.now();
                let index = rng.random_range(0..clients.len());
                let client = clients.get(index).context("no replicas")?;
                let answer = timeout(limit, client.revoke(&key.id, &key.request_id)).await;
                let returned = clock.now();
                let got = match answer {
                    Ok(Ok(answer)) => {
                        key.note_returned(returned);
                        calls.push(describe_call(called, index, returned, "OK"));
                        let phase = world.history.phases.during(invoked, returned);
                        world.revoked.note(&key, &answer, phase, returned - invoked, calls);
                        return Ok(());
                    }
                    Ok(Err(status)) if !is_retryable(&status) => return Err(status).context("RevokeKey failed"),
                    Ok(Err(status)) => reason(&status),
                    Err(_) => "timeout".to_owned(),
                };
                calls.push(describe_call(called, index, returned, &got));
                world.revoked.record_retry(got);
                sleep(RETRY_DELAY).await;
            }
        }
    }
}

fn describe_call(called: u64, index: usize, returned: u64, got: &str) -> String {
    let (at, took) = (seconds(called), seconds(returned - called));
    format!("{at:.3} s at replica {}, {took:.3} s: {got}", index + 1)
}

fn joined(done: Option<Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    done.map_or(Ok(()), |done| done.context("a revocation panicked")?)
}

impl Revoked {
    fn note(&self, key: &Arc<Key>, answer: &RevokeKeyResponse, phase: Phase, nanos: u64, calls: Vec<String>) {
        let state = answer.propagation.as_ref().map(Propagation::state);
        match state {
            Some(PropagationState::Confirmed) => self.confirmed.fetch_add(1, Ordering::Relaxed),
            Some(PropagationState::Lapsed) => self.lapsed.fetch_add(1, Ordering::Relaxed),
            _ => {
                say!("a revocation returned OK without a propagation state: {answer:?}");
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

    fn record_retry(&self, reason: String) {
        *self.retries.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }
}
