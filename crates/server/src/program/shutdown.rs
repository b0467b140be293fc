//! Shutdown: what requests it, its order, and its time limits.
//!
//! This module owns the order of a shutdown. Every task takes a token of [`Shutdown`] and ends with it; [`wind_down`]
//! runs the steps. Even if a step hangs, the process ends [`EXIT_LIMIT`] after the first signal: a thread that needs no
//! runtime enforces the limit. Nothing else in the server may call `exit` while it serves.
//!
//! To add a step, add a line to [`wind_down`], under [`step`] with its own limit.

use std::future::Future;
use std::io;
use std::process;
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::signals::{Request, Signals};
use crate::program::config::{Config, EXIT_LIMIT};
use crate::rpc::health::Health;
use crate::transport::listener::Drained;

/// The time limit for leaving the registry, which is one statement.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);
/// The time limit for the last writes. When the delay and the drain have used all of their time, the limit of the whole
/// shutdown cuts this shorter.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);
/// The time limit of the rest of a shutdown after a second signal: leaving the registry and the last writes.
const HURRY_LIMIT: Duration = Duration::from_millis(3_200);

/// What the operator's signals request. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shutdown {
    requested: CancellationToken,
    hurried: CancellationToken,
    reload: Arc<Notify>,
    has_tls: bool,
    exit_code: Arc<OnceLock<u8>>,
}

impl Shutdown {
    /// Handles signals from now on. The first one that asks for a shutdown requests it. The second one ends the waiting
    /// for clients: calls in flight are cut, but what is only in memory is still written. `has_tls` is whether there are
    /// files to read again.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub(crate) fn on_signals(has_tls: bool) -> io::Result<Self> {
        let shutdown = Self { has_tls, ..Self::default() };
        tokio::spawn(shutdown.clone().handle(Signals::install()?));
        Ok(shutdown)
    }

    async fn handle(self, mut signals: Signals) {
        let is_by_signal = tokio::select! {
            (name, _) = self.next_request(&mut signals) => {
                tracing::info!(signal = name, "shutting down");
                true
            }
            // A task that cannot continue may also request the shutdown.
            () = self.requested() => false,
        };
        limit_exit(EXIT_LIMIT);
        self.request();
        if !is_by_signal {
            let (name, _) = self.next_request(&mut signals).await;
            tracing::info!(signal = name, "already shutting down; a second signal cuts the calls in flight");
        }
        let (name, code) = self.next_request(&mut signals).await;
        tracing::warn!(signal = name, "second signal; closing connections without waiting for calls in flight");
        let _ = self.exit_code.set(code);
        limit_exit(HURRY_LIMIT);
        self.hurried.cancel();
        // Further signals change nothing: the end has a limit.
    }

    /// Returns the next signal that asks for a shutdown, with its exit code, and serves the others until then.
    async fn next_request(&self, signals: &mut Signals) -> (&'static str, u8) {
        loop {
            let received = signals.next().await;
            match received.request {
                Request::Shutdown => return (received.name, received.exit_code),
                Request::Reload if !self.has_tls => {
                    tracing::info!(
                        "SIGHUP received; without TLS there is nothing to read again; settings need a restart"
                    );
                }
                Request::Reload => {
                    tracing::info!("SIGHUP received; checking the TLS files now; other settings need a restart");
                    self.reload.notify_one();
                }
                Request::Ignored => tracing::info!(signal = received.name, "signal ignored"),
            }
        }
    }

    /// Requests the shutdown.
    pub(crate) fn request(&self) {
        self.requested.cancel();
    }

    /// Waits until the shutdown is requested.
    pub(crate) async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// Returns a token that is cancelled by the shutdown or by its owner.
    #[must_use]
    pub(crate) fn child(&self) -> CancellationToken {
        self.requested.child_token()
    }

    /// Returns the token that a second signal cancels.
    #[must_use]
    pub(crate) fn hurried(&self) -> CancellationToken {
        self.hurried.clone()
    }

    /// Returns the notification that the operator wants files to be read again.
    #[must_use]
    pub(crate) fn reload(&self) -> Arc<Notify> {
        Arc::clone(&self.reload)
    }

    /// Returns the exit code of a shutdown that succeeded: 0, or that of the second signal.
    #[must_use]
    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code.get().copied().unwrap_or_default()
    }
}

/// Exits with code 1 if the process still runs after `limit`.
fn limit_exit(limit: Duration) {
    let watch = move || {
        // The channel has no message: receiving is a pause that needs no runtime.
        let (_sender, never) = mpsc::channel::<()>();
        let _ = never.recv_timeout(limit);
        tracing::error!(?limit, "shutdown exceeded its time limit; exiting immediately");
        process::exit(1);
    };
    if let Err(error) = std::thread::Builder::new().name("exit-limit".to_owned()).spawn(watch) {
        tracing::error!(%error, "cannot start the thread that limits the shutdown");
    }
}

/// Runs one step of the shutdown, for at most `limit`, and logs when it did not complete.
pub(crate) async fn step<F: Future>(name: &'static str, limit: Duration, step: F) -> Option<F::Output> {
    let output = timeout(limit, step).await.ok();
    if output.is_none() {
        tracing::warn!(step = name, ?limit, "shutdown step exceeded its time limit; continuing with the next");
    }
    output
}

/// The parameters of [`wind_down`].
#[derive(Debug)]
pub(crate) struct WindDown {
    /// The health of the server, set to not serving.
    pub health: Health,
    /// `--shutdown-delay`.
    pub delay: Duration,
    /// The token that stops the listeners.
    pub stop_calls: CancellationToken,
    /// The tasks of [`crate::transport::listener::Listener::serve`]. They bound themselves by the drain timeout.
    pub listeners: JoinSet<Drained>,
    /// `--drain-timeout`.
    pub drain: Duration,
    /// The token that ends the delay early, and the drain of the listeners.
    pub hurried: CancellationToken,
}

impl WindDown {
    /// Makes the parameters from the configuration.
    pub(crate) fn new(
        config: &Config,
        shutdown: &Shutdown,
        health: Health,
        stop_calls: CancellationToken,
        listeners: JoinSet<Drained>,
    ) -> Self {
        let (delay, drain, hurried) = (config.shutdown_delay, config.drain_timeout, shutdown.hurried());
        Self { health, delay, stop_calls, listeners, drain, hurried }
    }
}

/// Runs the shutdown.
///
/// t0: health and `/readyz` turn to not serving; calls are still accepted.
/// t1: `delay` has passed, in which load balancers react.
/// t2: health watches end, and the listeners send GOAWAY.
/// t3: the calls in flight have completed, or they were cut because `drain` has passed, or because of a second signal.
/// t4: `leave` ends the lease and removes the replica from the registry.
/// t5: `flush` writes what is only in memory.
///
/// From t0 to t4 the replica keeps its lease and its heartbeats, so that no call in flight fails and no change waits
/// for it. `leave` and `flush` have time limits: they need the database, which may be the very reason for the shutdown.
pub(crate) async fn wind_down(plan: WindDown, leave: impl Future<Output = ()>, flush: impl Future<Output = ()>) {
    let WindDown { health, delay, stop_calls, mut listeners, drain, hurried } = plan;
    health.stop_serving();
    hurried.run_until_cancelled(sleep(delay)).await;
    // gRPC clients open health watches by themselves. Each would count as a call in flight until the end of the drain.
    health.close();
    stop_calls.cancel();
    let all_drained = async { while listeners.join_next().await.is_some() {} };
    // Slightly longer than the listeners' own limit.
    let drained = step("drain", drain + Duration::from_millis(200), all_drained);
    drained.await;
    step("leave the registry", LEAVE_LIMIT, leave).await;
    step("flush", FLUSH_LIMIT, flush).await;
    tracing::info!("shut down");
}

/// Raises the process's limit of open files to the maximum that the system allows, and returns it. A soft limit of
/// 1,024 is common, and far below `--max-connections`.
#[must_use = "it may be less than the connections allowed"]
pub(crate) fn raise_open_files_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // A limit that cannot be raised stays, and the caller learns its value.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::health::VerifyState;
    use std::sync::Mutex;

    #[tokio::test]
    async fn the_shutdown_keeps_its_order_even_if_a_step_hangs() {
        let (health, _service) = Health::new();
        health.set_verify(VerifyState::Ready);
        let order = Mutex::new(Vec::new());
        let stop_calls = CancellationToken::new();
        let mut listeners = JoinSet::new();
        let stopped = stop_calls.clone();
        listeners.spawn(async move {
            stopped.cancelled().await;
            Drained { cut: 0 }
        });
        let plan = WindDown {
            health: health.clone(),
            delay: Duration::ZERO,
            stop_calls: stop_calls.clone(),
            listeners,
            drain: Duration::from_secs(5),
            hurried: CancellationToken::new(),
        };
        let leave = async {
            order.lock().unwrap().push("leave");
            assert!(!health.state().is_verify_ready() && stop_calls.is_cancelled());
            std::future::pending::<()>().await;
        };
        let flush = async {
            order.lock().unwrap().push("flush");
            assert!(stop_calls.is_cancelled());
        };
        wind_down(plan, leave, flush).await;
        assert_eq!(*order.lock().unwrap(), ["leave", "flush"]);
    }

    #[tokio::test]
    async fn a_child_token_is_cancelled_by_the_shutdown_and_not_vice_versa() {
        let shutdown = Shutdown::default();
        let (one, other) = (shutdown.child(), shutdown.child());
        one.cancel();
        assert!(!other.is_cancelled());
        shutdown.request();
        shutdown.requested().await;
        assert!(other.is_cancelled());
    }
}
