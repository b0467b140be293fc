//! The replicator's thread. It drives the lease's state machine on its own connection, so that neither traffic nor a
//! pool can delay it.

use std::sync::Arc;
use std::time::Duration;

use key_authority_domain::secret::Keyring;
use key_authority_storage::Store;
use tokio::sync::watch;

use super::driver::Driver;
use super::poll::PollSchedule;
use super::settings::{EndError, Settings};
use crate::clock::boottime;
use crate::failure_log::FailureLog;
use crate::index::Writer;
use crate::ledger::SystemTimer;
use crate::state::ReplicaState;

/// How often a failed connection to the database is retried.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(200);
/// How long a running heartbeat may still take when the replica stops. A database that is silent for longer would not
/// let the replica leave either.
const STOP_PATIENCE: Duration = Duration::from_millis(300);

/// The replicator could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the replicator's thread could not be started")]
pub struct StartError(#[source] std::io::Error);

/// A running replicator. [`Replicator::stop`] ends it in order.
#[derive(Debug)]
pub struct Replicator {
    state: Arc<ReplicaState>,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<Option<Result<(), EndError>>>,
}

impl Replicator {
    /// Starts the thread. The replica has no lease until the first heartbeat is complete.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be started.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let writer = Writer::new(Arc::clone(&settings.keyring));
        let state = Arc::new(ReplicaState::new(Arc::clone(writer.index()), settings.replica.timings));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError)?;
        let shared = Arc::clone(&state);
        Self::spawn(state, move |stopped| runtime.block_on(run(settings, shared, writer, stopped)))
    }

    fn spawn(
        state: Arc<ReplicaState>,
        work: impl FnOnce(watch::Receiver<bool>) -> Result<(), EndError> + Send + 'static,
    ) -> Result<Self, StartError> {
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = watch::channel(None);
        std::thread::Builder::new()
            .name("replicator".into())
            .spawn(move || {
                let outcome = work(stopped);
                end.send_replace(Some(outcome));
            })
            .map_err(StartError)?;
        Ok(Self { state, stop, ended })
    }

    /// Returns the state of the replica.
    #[must_use]
    pub fn state(&self) -> &Arc<ReplicaState> {
        &self.state
    }

    /// Waits for the end of the thread, for any reason.
    ///
    /// # Errors
    /// When the thread ended without [`Replicator::stop`].
    pub async fn ended(&self) -> Result<(), EndError> {
        let mut ended = self.ended.clone();
        // A thread that panics drops the sender without a value.
        ended
            .wait_for(Option::is_some)
            .await
            .map_or(Err(EndError::Panicked), |outcome| outcome.clone().unwrap_or(Ok(())))
    }

    /// Ends the lease, leaves the registry and ends the thread. Dropping the future leaves nothing behind that could
    /// delay the end of the process.
    ///
    /// # Errors
    /// When the thread had already ended by itself.
    pub async fn stop(&self) -> Result<(), EndError> {
        self.stop.send_replace(true);
        self.ended().await
    }
}

async fn run(
    settings: Settings,
    state: Arc<ReplicaState>,
    writer: Writer,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), EndError> {
    let Settings { database_url, notify_url, keyring, replica } = settings;
    let connect = async |stopped: &mut watch::Receiver<bool>| connect(&database_url, &keyring, stopped).await;
    let Some(store) = connect(&mut stopped).await else { return Ok(()) };
    let mut schedule = PollSchedule::default();
    if let Some(url) = notify_url {
        // The task ends with the runtime.
        tokio::spawn(schedule.listen(url, Arc::clone(&state)));
    }
    let mut driver = Driver::new(replica, state, writer, store, SystemTimer);
    let does_database_answer = loop {
        let is_done = tokio::select! {
            done = driver.beat_and_scan() => done?,
            () = patience(stopped.clone()) => break false,
        };
        if !is_done {
            // The session may be in the middle of a statement.
            let Some(store) = connect(&mut stopped).await else { break false };
            driver.ledger = store;
        }
        let pause = schedule.pause(!is_done, driver.lease.applied().revision, boottime());
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break true,
            () = driver.state.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    };
    driver.end(does_database_answer).await;
    Ok(())
}

/// Waits until the replica stops, and then for as long as a running heartbeat may still take.
async fn patience(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
    tokio::time::sleep(STOP_PATIENCE).await;
}

/// Connects, retrying without limit; returns `None` when the replica stops first.
async fn connect(database_url: &str, keyring: &Arc<Keyring>, stopped: &mut watch::Receiver<bool>) -> Option<Store> {
    let connected = async {
        let mut failures = FailureLog::default();
        loop {
            match Store::connect_one(database_url, Arc::clone(keyring)).await {
                Ok(store) => return store,
                Err(error) => {
                    failures.log(&error, "cannot connect to the database; retrying every 200 ms", boottime());
                }
            }
            tokio::time::sleep(RECONNECT_INTERVAL).await;
        }
    };
    tokio::select! {
        store = connected => Some(store),
        _ = stopped.wait_for(|stop| *stop) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::timings::LeaseTimings;

    #[tokio::test]
    async fn a_thread_that_panics_is_noticed() {
        let state =
            ReplicaState::new(Arc::clone(Writer::default().index()), LeaseTimings::new(Duration::from_secs(10)));
        let replicator =
            Replicator::spawn(Arc::new(state), |_| std::panic::resume_unwind(Box::new("a fault"))).unwrap();
        assert_eq!(replicator.ended().await, Err(EndError::Panicked));
        assert_eq!(replicator.stop().await, Err(EndError::Panicked));
    }
}
