//! The thread that keeps a replica up to date: it drives the lease's state machine with a connection of its own, so that
//! no traffic and no pool can make it wait.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use key_authority_domain::audit::Action as Change;
use key_authority_domain::id::ReplicaId;
use key_authority_domain::secret::Keyring;
use key_authority_storage::feed::Feed;
use key_authority_storage::registry::Joining;
use key_authority_storage::{StorageError, Store};
use tokio::sync::watch;

use crate::clock::{Boottime, boottime};
use crate::index::{Reload, Writer};
use crate::lease::{Action, Event, Lease};
use crate::pace::Pace;
use crate::terms::Terms;
use crate::view::{Entropy, View};

/// How often a database that could not be connected to is tried again.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(200);
/// How often the registry is read, so that a replica that fell silent long ago is known to be.
const SCAN_INTERVAL: Duration = Duration::from_secs(1);

/// What a replicator needs to know.
#[derive(Debug)]
pub struct Settings {
    /// The database.
    pub database_url: String,
    /// Where it tells of changes, if it does: PostgreSQL alone.
    pub notify_url: Option<String>,
    /// The keys of the authority secret.
    pub keyring: Arc<Keyring>,
    /// The durations that all replicas agree on.
    pub terms: Terms,
    /// Whether no other server can work on this database: then what cannot be confirmed for want of room need not be.
    pub is_alone: bool,
    /// Which build this is, for the registry.
    pub build: String,
    /// Where this replica listens, for the registry.
    pub address: String,
    /// Where names and nonces come from.
    pub entropy: Entropy,
}

/// The replicator could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the replicator's thread could not be started")]
pub struct StartError(#[source] std::io::Error);

/// A running replicator. Dropped, it goes on; [`Replicator::stop`] ends it.
#[derive(Debug)]
pub struct Replicator {
    view: Arc<View>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Replicator {
    /// Starts the thread. The view has no lease until the first heartbeat is through.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let writer = Writer::default();
        let view = Arc::new(View::new(Arc::clone(writer.index()), settings.terms));
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError)?;
        let shared = Arc::clone(&view);
        let thread = std::thread::Builder::new()
            .name("replicator".into())
            .spawn(move || runtime.block_on(run(settings, shared, writer, stopped)))
            .map_err(StartError)?;
        Ok(Self { view, stop, thread })
    }

    /// What the replica knows.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Gives the lease up, leaves the registry and ends the thread.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

async fn run(settings: Settings, view: Arc<View>, writer: Writer, mut stopped: watch::Receiver<bool>) {
    let Some(store) = connect(&settings, &mut stopped).await else { return };
    let mut pace = Pace::default();
    if let Some(url) = settings.notify_url.clone() {
        // Ends with the runtime.
        tokio::spawn(pace.listen(url, Arc::clone(&view)));
    }
    let mut driver = Driver::new(settings, view, writer, store);
    let mut scanned = Boottime(0);
    loop {
        let mut is_done = driver.heartbeat().await;
        if is_done && boottime().since(scanned) >= SCAN_INTERVAL {
            scanned = boottime();
            is_done = driver.scan().await;
        }
        if !is_done {
            // The session may be in the middle of something.
            let Some(store) = connect(&driver.settings, &mut stopped).await else { break };
            driver.store = store;
        }
        let pause = pace.pause(!is_done, driver.lease.applied().revision, boottime());
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            () = driver.view.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    driver.leave().await;
}

/// Connects, however long it takes; nothing when it is to stop before that.
async fn connect(settings: &Settings, stopped: &mut watch::Receiver<bool>) -> Option<Store> {
    let connected = async {
        loop {
            match Store::connect_one(&settings.database_url, Arc::clone(&settings.keyring)).await {
                Ok(store) => return store,
                Err(error) => tracing::debug!(error = %error, "the replicator cannot connect"),
            }
            tokio::time::sleep(RECONNECT_INTERVAL).await;
        }
    };
    tokio::select! {
        store = connected => Some(store),
        _ = stopped.wait_for(|stop| *stop) => None,
    }
}

/// Why a step of a heartbeat could not be done.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It says nothing about the database.
    #[error("there are no random bytes")]
    Entropy(#[source] std::io::Error),
}

/// Does what the lease says.
struct Driver {
    settings: Settings,
    view: Arc<View>,
    writer: Writer,
    store: Store,
    lease: Lease,
    feed: Option<Feed>,
    /// The name under which it is registered.
    me: Option<ReplicaId>,
    /// The name under which it tries to be.
    joining: Option<ReplicaId>,
    /// The session that the log was read in.
    session: u64,
}

impl Driver {
    fn new(settings: Settings, view: Arc<View>, writer: Writer, store: Store) -> Self {
        let lease = Lease::new(settings.terms);
        Self { settings, view, writer, store, lease, feed: None, me: None, joining: None, session: 0 }
    }

    /// Runs a heartbeat to its end, and says whether every step of it could be done.
    async fn heartbeat(&mut self) -> bool {
        let mut event = Event::Due;
        let mut feed;
        loop {
            let action = self.lease.on(&event, boottime());
            self.publish();
            let done = match action {
                Action::Rest => return !matches!(event, Event::Failed),
                Action::Join => self.join().await,
                Action::Load => self.load().await,
                Action::Apply => self.apply().await.map(|()| Event::Applied),
                Action::Confirm(head) => self.confirm(head).await,
                Action::Read(from) => match self.read(from).await {
                    Ok(read) => {
                        feed = read;
                        self.feed = Some(feed.clone());
                        Ok(Event::Read(&feed))
                    }
                    Err(error) => Err(error),
                },
            };
            self.note(action, done.as_ref().err());
            event = done.unwrap_or(Event::Failed);
        }
    }

    /// Joins under a fresh name; under the same one again until that is known to have come about.
    async fn join(&mut self) -> Result<Event<'static>, Fault> {
        let id = match self.joining {
            Some(id) => id,
            None => *self.joining.insert(ReplicaId(self.random()?)),
        };
        let Settings { build, address, terms, .. } = &self.settings;
        let joining = Joining { id, nonce: self.random()?, lease: terms.wait, build, address };
        if let Err(other) = self.store.join(joining).await? {
            tracing::error!(
                mine = ?terms.wait, stored = ?other.stored,
                "the lease was changed while this replica was out: restart it, so that it agrees with the others"
            );
            return Ok(Event::Failed);
        }
        (self.me, self.joining) = (Some(id), None);
        self.view.set_me(self.me);
        Ok(Event::Joined)
    }

    async fn load(&mut self) -> Result<Event<'static>, Fault> {
        let mut seen = Reload::new(self.store.now().await?);
        let head = self.store.snapshot(|rows| self.writer.reload(&mut seen, rows)).await?;
        self.writer.finish_reload(&seen, head.revision);
        let (keys, accounts) = (self.writer.index().keys(), self.writer.index().accounts());
        tracing::info!(revision = %head.revision, keys, accounts, "everything is resident");
        Ok(Event::Loaded(head))
    }

    async fn read(&mut self, from: key_authority_domain::id::Revision) -> Result<Feed, Fault> {
        let asked = boottime();
        let feed = self.store.feed(from).await?;
        self.view.set_clock(feed.now, asked);
        self.view.set_head(feed.head.revision);
        self.session = self.store.sessions();
        Ok(feed)
    }

    async fn apply(&mut self) -> Result<(), Fault> {
        let Some(feed) = self.feed.take() else { return Ok(()) };
        let accounts: BTreeSet<_> = feed.events.iter().map(|event| event.account.clone()).collect();
        let keys: BTreeSet<_> = feed.events.iter().filter_map(|event| event.key_id.clone()).collect();
        let ids = (accounts.iter().cloned().collect::<Vec<_>>(), keys.iter().cloned().collect::<Vec<_>>());
        let rows = self.store.rows(&ids.0, &ids.1).await?;
        let to = feed.events.last().map_or(feed.head.revision, |event| event.revision);
        self.writer.apply(&accounts, &keys, rows, to);
        // The event at the applied revision is read again with every heartbeat; what it says was done then.
        let mut new = feed.events.iter().filter(|event| event.revision > self.lease.applied().revision);
        if new.any(|event| event.action == Change::AcceptRestore) {
            tracing::warn!(
                tokens = self.writer.index().held(),
                "the database is accepted as it is; nothing is held any more"
            );
            self.writer.release_held();
        }
        Ok(())
    }

    async fn confirm(&self, head: key_authority_storage::settings::Head) -> Result<Event<'static>, Fault> {
        let Some(me) = self.me else { return Ok(Event::Confirmed { is_registered: false }) };
        let is_registered = match self.store.confirm(me, head, self.random()?).await {
            // Who cannot write on a database that nobody else serves cannot be behind: nobody changes anything.
            Err(StorageError::CannotWrite(error)) if self.settings.is_alone => {
                tracing::debug!(error = %error, "the database has no room");
                true
            }
            confirmed => confirmed?,
        };
        // What was read and what was written must have been the same server: one that was the primary once, and does not
        // know yet that it is not, would show an old log, and the new one would take the confirmation of it.
        if self.store.sessions() != self.session {
            tracing::debug!("the session changed within a heartbeat, which does not count");
            return Ok(Event::Failed);
        }
        if !is_registered {
            tracing::warn!(replica = %me, "this replica was removed from the registry; it joins anew");
        }
        Ok(Event::Confirmed { is_registered })
    }

    /// Shows what the lease says to those who answer.
    fn publish(&self) {
        if self.view.set_lease(&self.lease) {
            tracing::error!(
                applied = %self.lease.applied().revision,
                "the database went back: what it holds is not what this replica has applied; everything is read anew"
            );
        }
    }

    /// Looks at the registry, removes who is silent, and says whether that could be done in the time between two
    /// heartbeats: they matter more.
    async fn scan(&self) -> bool {
        let scan = async {
            match self.view.scan(&self.store).await {
                Ok(rows) => self.view.fence_silent(&self.store, &rows).await,
                Err(error) => {
                    tracing::debug!(error = %error, "reading the registry");
                    false
                }
            }
        };
        tokio::time::timeout(self.settings.terms.heartbeat, scan).await.unwrap_or(false)
    }

    async fn leave(self) {
        self.view.end_lease();
        if let Some(me) = self.me
            && let Err(error) = self.store.leave(me).await
        {
            tracing::warn!(replica = %me, error = %error, "leaving the registry; the next change waits this replica out");
        }
        self.store.close().await;
    }

    /// Tells of the database's coming and going once each, not at every heartbeat.
    fn note(&self, action: Action, fault: Option<&Fault>) {
        let error = match fault {
            None => None,
            Some(Fault::Storage(error)) => Some(error),
            Some(Fault::Entropy(cause)) => {
                tracing::error!(?action, %cause, "the replicator has no random bytes");
                return;
            }
        };
        let is_new = self.view.set_storage_answers(error.is_none());
        match error {
            Some(error) if is_new => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::warn!(?action, error = %error, cause, "the database does not answer the replicator");
            }
            Some(error) => tracing::debug!(?action, error = %error, "the database does not answer the replicator"),
            None if is_new => tracing::info!("the database answers the replicator"),
            None => {}
        }
    }

    fn random<const N: usize>(&self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        (self.settings.entropy)(&mut bytes).map_err(Fault::Entropy)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_want_of_random_bytes_is_not_blamed_on_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let database_url = format!("sqlite://{}/x.db?mode=rwc", folder.path().display());
        let keyring = Arc::new(Keyring::parse(&"07".repeat(32)).unwrap());
        let store = Store::connect_one(&database_url, Arc::clone(&keyring)).await.unwrap();
        store.migrate(None).await.unwrap();
        let terms = Terms::new(Duration::from_secs(10));
        let (build, address) = Default::default();
        let entropy: Entropy = |_| Err(std::io::Error::other("none today"));
        let settings =
            Settings { database_url, notify_url: None, keyring, terms, is_alone: true, build, address, entropy };
        let writer = Writer::default();
        let view = Arc::new(View::new(Arc::clone(writer.index()), terms));
        let mut driver = Driver::new(settings, Arc::clone(&view), writer, store);
        assert!(!driver.heartbeat().await, "nobody joins without a name");
        assert!(!view.has_lease() && view.storage_answers());
    }
}
