//! The end of the process: what asks for it, in which order it goes, and that it is never late.
//!
//! Owns signals and the order of an exit. Everything that runs takes a token of [`Shutdown`] and ends with it; [`wind_down`] is the
//! order. However stuck a step is, the process is gone [`EXIT_LIMIT`] after the first signal: a thread sees to that, which needs
//! no runtime. Nothing else in the server may call `exit` while it serves.
//!
//! To add a step: a line in [`wind_down`], under [`step`] with a limit of its own.

use std::future::Future;
use std::io;
use std::process;
use std::sync::mpsc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::program::config::EXIT_LIMIT;
use crate::rpc::health::Health;
use crate::transport::listener::Drained;

/// Leaving the registry is one statement.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);
/// The last writes. When delay and drain took all they may, the limit of the whole exit cuts this shorter.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// The wish to end, and the signals that utter it. Clones are the same wish.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shutdown(CancellationToken);

impl Shutdown {
    /// Listens for SIGTERM and SIGINT from now on. The first asks for the end; the second ends the process at once, with exit
    /// code 143 or 130.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub(crate) fn on_signals() -> io::Result<Self> {
        let shutdown = Self::default();
        let mut signals = Signals::new()?;
        let requested = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                (name, _) = signals.next() => tracing::info!(signal = name, "ending"),
                // A task that cannot go on may ask as well.
                () = requested.requested() => {}
            }
            limit_exit(EXIT_LIMIT);
            requested.request();
            let (name, code) = signals.next().await;
            tracing::warn!(signal = name, "ending at once");
            process::exit(code);
        });
        Ok(shutdown)
    }

    /// Asks for the end.
    pub(crate) fn request(&self) {
        self.0.cancel();
    }

    /// Waits until the end is asked for.
    pub(crate) async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// A token for something that ends when the end is asked for, or when its owner cancels it.
    #[must_use]
    pub(crate) fn child(&self) -> CancellationToken {
        self.0.child_token()
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next signal, and the exit code of a process that dies of it.
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            Some(()) = self.terminate.recv() => ("SIGTERM", 128 + 15),
            Some(()) = self.interrupt.recv() => ("SIGINT", 128 + 2),
            else => std::future::pending().await,
        }
    }
}

/// Ends the process with exit code 1 when it still runs after `limit`.
fn limit_exit(limit: Duration) {
    let watch = move || {
        // Nobody ever sends: it is a pause that no runtime has to drive.
        let (_sender, never) = mpsc::channel::<()>();
        let _ = never.recv_timeout(limit);
        tracing::error!(?limit, "the exit took too long; ending at once");
        process::exit(1);
    };
    if let Err(error) = std::thread::Builder::new().name("exit-limit".to_owned()).spawn(watch) {
        tracing::error!(%error, "no thread to limit the exit with");
    }
}

/// Runs one step of the exit, at most for `limit`, and logs when that was not enough.
pub(crate) async fn step<F: Future>(name: &'static str, limit: Duration, step: F) -> Option<F::Output> {
    let output = timeout(limit, step).await.ok();
    if output.is_none() {
        tracing::warn!(step = name, ?limit, "a step of the exit took too long and was left");
    }
    output
}

/// What [`wind_down`] works with.
#[derive(Debug)]
pub(crate) struct WindDown {
    /// Says that we do not serve any more.
    pub health: Health,
    /// `--shutdown-delay`.
    pub delay: Duration,
    /// The token that the listeners were given.
    pub stop_calls: CancellationToken,
    /// The tasks of [`crate::transport::listener::Listener::serve`]. They limit themselves by the drain time.
    pub listeners: JoinSet<Drained>,
    /// `--drain-timeout`.
    pub drain: Duration,
}

/// Ends in order: not serving → the delay for load balancers → GOAWAY and drain → `leave` (the registry) → `flush` (what is only
/// in memory). Until the drain is over the replica holds its lease and goes on confirming: no call in flight fails and no
/// change waits for it. Both callbacks are limited, since they need a database that may be the very reason of the exit.
pub(crate) async fn wind_down(plan: WindDown, leave: impl Future<Output = ()>, flush: impl Future<Output = ()>) {
    let WindDown { health, delay, stop_calls, mut listeners, drain } = plan;
    health.stop_serving();
    sleep(delay).await;
    // Ends the watches that clients opened by themselves; each would be a call in flight until the drain is cut.
    health.close();
    stop_calls.cancel();
    let all_drained = async { while listeners.join_next().await.is_some() {} };
    // A moment more than the listeners allow themselves.
    step("drain", drain + Duration::from_millis(200), all_drained).await;
    step("leave the registry", LEAVE_LIMIT, leave).await;
    step("flush", FLUSH_LIMIT, flush).await;
    tracing::info!("ended");
}

/// Raises this process's limit of open files to what the system allows, and returns it: a soft limit of 1,024 is common and far
/// below `--max-connections`.
#[must_use = "it may be less than the connections allowed"]
pub(crate) fn raise_open_files_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // What cannot be raised stays, and the caller is told how much it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test]
    async fn the_exit_goes_in_order_even_when_a_step_hangs() {
        let (health, _service) = Health::new();
        health.set_verify(true);
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
        };
        let leave = async {
            order.lock().unwrap().push("leave");
            assert!(!health.state().verify && stop_calls.is_cancelled());
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
    async fn a_child_ends_with_the_whole_and_not_the_other_way_round() {
        let shutdown = Shutdown::default();
        let (one, other) = (shutdown.child(), shutdown.child());
        one.cancel();
        assert!(!other.is_cancelled());
        shutdown.request();
        shutdown.requested().await;
        assert!(other.is_cancelled());
    }

    #[test]
    fn the_limit_of_open_files_is_known() {
        assert!(raise_open_files_limit().is_none_or(|limit| limit > 0));
    }
}
