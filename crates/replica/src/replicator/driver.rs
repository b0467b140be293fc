//! The driver of a replica: it runs the actions of the lease's state machine on the database and on the replica's
//! state.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use key_authority_domain::audit::{ChainHash, LOG_FORMAT_VERSION};
use key_authority_domain::id::{AccountId, ReplicaId, Revision};
use key_authority_domain::time::Timestamp;
use key_authority_storage::StorageError;
use key_authority_storage::feed::{ChangedKeys, Feed};
use key_authority_storage::registry::{JoinRefused, Joining};
use key_authority_storage::settings::Head;

use super::settings::{EndError, ReplicaConfig};
use crate::clock::Boottime;
use crate::failure_log::FailureLog;
use crate::index::Writer;
use crate::ledger::{Ledger, Timer};
use crate::protocol::lease::{Action, Event, Lease};
use crate::protocol::wait::CommittedChange;
use crate::state::ReplicaState;

/// How often the registry is read, so that the start of a replica's silence is observed before a change needs it.
const SCAN_INTERVAL: Duration = Duration::from_secs(1);

/// As long as the account of the callers does not exist, nobody can have made anything.
const EMPTY: &str =
    "the database contains no authority; run `key-authority bootstrap` to begin one, or restore the database";
const REPLACED: &str = "the database does not contain the authority that this replica has served; restore it, or restart \
    the replica to serve what is there";

const HEARTBEAT_FAILED: &str = "heartbeat failed; answering from memory until the lease expires";
const HEARTBEAT_UNWRITTEN: &str = "cannot write the heartbeat; continuing as the only server of the SQLite file";

/// Why a step of a heartbeat failed.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log begins with another event than before, or is empty.
    #[error("the database contains another authority")]
    OtherAuthority,
    /// It says nothing about the state of the database.
    #[error("cannot read random bytes")]
    Entropy(#[source] std::io::Error),
}

/// Runs the actions of the lease.
pub(super) struct Driver<L, T> {
    pub(super) config: ReplicaConfig,
    pub(super) state: Arc<ReplicaState>,
    writer: Writer,
    pub(super) ledger: L,
    timer: T,
    pub(super) lease: Lease,
    /// The ID of a join that is not known to have succeeded yet.
    joining: Option<ReplicaId>,
    /// The session in which the log was read.
    session: u64,
    scanned: Option<Boottime>,
    /// The known acceptances of a restore; `None` before the first full reload.
    accepted: Option<BTreeSet<ChainHash>>,
    /// The hash of the first event of the log; `None` until one was read. A log with another one is another authority.
    first: Option<ChainHash>,
    /// The last corrupt row that was logged; each is logged once.
    corrupt: Option<String>,
    /// What is wrong with the authority in the database, as it was logged last.
    absence: Option<&'static str>,
    /// Whether the last heartbeat was written, or needed not to be.
    is_written: bool,
    failures: FailureLog,
    /// Heartbeats that the only server could not write.
    unwritten: FailureLog,
}

impl<L: Ledger, T: Timer> Driver<L, T> {
    pub(super) fn new(config: ReplicaConfig, state: Arc<ReplicaState>, writer: Writer, ledger: L, timer: T) -> Self {
        let lease = Lease::new(config.timings);
        Self {
            config,
            state,
            writer,
            ledger,
            timer,
            lease,
            joining: None,
            session: 0,
            scanned: None,
            accepted: None,
            first: None,
            corrupt: None,
            absence: None,
            is_written: true,
            failures: FailureLog::default(),
            unwritten: FailureLog::default(),
        }
    }

    /// Runs a heartbeat and, when it is due, a scan of the registry; returns whether every step succeeded.
    pub(super) async fn beat_and_scan(&mut self) -> Result<bool, EndError> {
        let is_done = self.heartbeat().await?;
        let is_due = self.scanned.is_none_or(|scanned| self.timer.now().since(scanned) >= SCAN_INTERVAL);
        if !is_done || !is_due {
            return Ok(is_done);
        }
        self.scanned = Some(self.timer.now());
        Ok(self.scan().await)
    }

    /// Runs a heartbeat to its end, and returns whether every step succeeded.
    async fn heartbeat(&mut self) -> Result<bool, EndError> {
        let mut event = Event::Due;
        let mut feed;
        loop {
            let action = self.lease.on(&event, self.timer.now());
            self.publish();
            let done = match (action, &event) {
                (Action::Rest, Event::Failed) => return Ok(false),
                (Action::Rest, _) => {
                    self.note_answers();
                    return Ok(true);
                }
                (Action::Join, _) => match self.join().await {
                    Ok(Ok(())) => Ok(Event::Joined),
                    Ok(Err(JoinRefused::OtherLease { stored })) => {
                        return Err(EndError::OtherLease { configured: self.config.timings.wait, stored });
                    }
                    Ok(Err(JoinRefused::LogFormat { needed })) => {
                        return Err(EndError::LogFormat { known: LOG_FORMAT_VERSION, needed });
                    }
                    Err(error) => Err(error),
                },
                (Action::Load, _) => self.load().await.map(Event::Loaded),
                (Action::Apply, Event::Read(read)) => self.apply(read).await,
                // Nothing was read, so nothing may count as applied.
                (Action::Apply, _) => Ok(Event::Failed),
                (Action::Confirm(head), _) => self.confirm(head).await,
                (Action::Read(from), _) => match self.read(from).await {
                    Ok(read) => {
                        feed = read;
                        Ok(Event::Read(&feed))
                    }
                    Err(error) => Err(error),
                },
            };
            match &done {
                // A file from which nothing can be loaded does not heal, and a supervisor shows a process that ends.
                Err(StepError::Storage(StorageError::Damaged(cause))) if action == Action::Load => {
                    return Err(EndError::Damaged { cause: cause.to_string() });
                }
                Err(error) => self.note_failure(action, error),
                Ok(_) => {}
            }
            event = done.unwrap_or(Event::Failed);
        }
    }

    /// Joins under a fresh ID, and again under the same ID until the join is known to have succeeded.
    async fn join(&mut self) -> Result<Result<(), JoinRefused>, StepError> {
        let id = match self.joining {
            Some(id) => id,
            None => *self.joining.insert(ReplicaId(self.random()?)),
        };
        let ReplicaConfig { build, address, timings, .. } = &self.config;
        let joining =
            Joining { id, nonce: self.random()?, lease: timings.wait, build, log_format: LOG_FORMAT_VERSION, address };
        let joined = self.ledger.join(joining).await?;
        if joined.is_ok() {
            self.joining = None;
            self.state.set_me(id);
        }
        Ok(joined)
    }

    async fn load(&mut self) -> Result<Head, StepError> {
        let first = self.ledger.first_hash().await?;
        if self.first.is_some() && first != self.first {
            // Tokens of this authority would be unknown in the other one.
            return Err(StepError::OtherAuthority);
        }
        self.first = first;
        let mut seen = self.writer.begin_reload(self.ledger.now().await?.max(self.state.time()));
        let head = self.ledger.snapshot(|rows| self.writer.reload(&mut seen, &rows)).await?;
        self.writer.finish_reload(&seen, head.revision);
        let (keys, accounts) = (self.writer.index().keys(), self.writer.index().accounts());
        tracing::info!(revision = %head.revision, keys, accounts, "loaded all keys into memory");
        let accepted = self.ledger.acceptances().await?;
        if self.accepted.as_ref().is_some_and(|known| !accepted.is_subset(known)) {
            // The database went back and was accepted as it is, while this replica was not connected.
            self.release_quarantined();
        }
        self.accepted = Some(accepted);
        Ok(head)
    }

    async fn read(&mut self, from: Revision) -> Result<Feed, StepError> {
        let sent = self.timer.now();
        let feed = self.ledger.feed(from).await?;
        let newest = feed.events.last().map_or(Timestamp::MIN, |event| event.time);
        self.state.set_clock(feed.now, newest, sent, self.timer.now());
        self.state.set_head(feed.head.revision);
        self.session = self.ledger.sessions();
        Ok(feed)
    }

    async fn apply(&mut self, feed: &Feed) -> Result<Event<'static>, StepError> {
        let accounts: BTreeSet<_> = feed.events.iter().map(|event| event.account.clone()).collect();
        let mut keys: BTreeSet<_> = feed.events.iter().filter_map(|event| event.key_id.clone()).collect();
        let ids = (accounts.iter().cloned().collect::<Vec<_>>(), keys.iter().cloned().collect::<Vec<_>>());
        let mut rows = self.ledger.rows(&ids.0, &ids.1).await?;
        // The event at the applied revision is read again with those that follow. It was processed before.
        let applied = self.lease.applied().revision;
        let new = || feed.events.iter().filter(|event| event.revision > applied);
        for event in new().filter(|event| event.key_set.is_some()) {
            let ChangedKeys { keys: changed, deleted } = self.ledger.keys_changed_by(event).await?;
            rows.keys.extend(changed);
            // A key that was deleted before its row was read is removed here: the event is confirmed before the replica
            // applies the deletion.
            keys.extend(deleted);
        }
        for event in new().filter(|event| event.records_use) {
            let mut uses = event.key_id.as_ref().map(|id| self.writer.last_uses(id)).unwrap_or_default();
            // This happens before the event is confirmed: the deletion that waits for it is decided by what is written.
            self.ledger.record_usage(&mut uses).await.map_err(|(_, error)| error)?;
        }
        // This check comes before anything is applied to the index. Rows from another server may be older than the log
        // that names them, and the next heartbeat would not read them again.
        if !self.is_same_session() {
            return Ok(Event::Failed);
        }
        let to = feed.events.last().map_or(feed.head.revision, |event| event.revision);
        self.writer.apply(&accounts, &keys, &rows, to);
        if let Some(event) = feed.events.first().filter(|event| event.revision == Revision(1)) {
            self.first = Some(event.hash);
        }
        let acceptances: Vec<_> = new().filter(|event| event.accepts_restore).map(|event| event.hash).collect();
        if !acceptances.is_empty() {
            self.release_quarantined();
            self.accepted.get_or_insert_default().extend(acceptances);
        }
        Ok(Event::Applied)
    }

    fn release_quarantined(&mut self) {
        let tokens = self.writer.index().quarantined();
        tracing::warn!(tokens, "restore accepted; releasing quarantined tokens");
        self.writer.release_quarantined();
    }

    /// Whether everything since the log was read was done in the same session. Reads and writes of a heartbeat must be
    /// on one server: a former primary that does not know of its demotion yet would show an old log, and the new
    /// primary would accept the confirmation of it.
    fn is_same_session(&self) -> bool {
        let is_same = self.ledger.sessions() == self.session;
        if !is_same {
            tracing::debug!("database session changed during a heartbeat; repeating it");
        }
        is_same
    }

    async fn confirm(&mut self, head: Head) -> Result<Event<'static>, StepError> {
        let Some(me) = self.state.me() else { return Ok(Event::Confirmed { is_registered: false }) };
        let is_registered = match self.ledger.confirm(me, head, self.random()?).await {
            // The only server of a database cannot be behind: no other server changes anything.
            Err(error @ (StorageError::CannotWrite(_) | StorageError::Locked(_))) if self.config.is_alone => {
                self.unwritten.log(&error, HEARTBEAT_UNWRITTEN, self.timer.now());
                self.is_written = false;
                true
            }
            confirmed => {
                let is_registered = confirmed?;
                self.unwritten.end();
                self.is_written = true;
                is_registered
            }
        };
        if !self.is_same_session() {
            return Ok(Event::Failed);
        }
        if !is_registered {
            tracing::warn!(replica = %me, "removed from the registry by another replica; joining again");
        }
        Ok(Event::Confirmed { is_registered })
    }

    fn has_authority(&self) -> bool {
        self.writer.has_account(&AccountId::system())
    }

    /// Publishes the state of the lease to the tasks that answer calls.
    fn publish(&self) {
        if self.state.set_lease(&self.lease, self.has_authority()) {
            tracing::error!(
                applied = %self.lease.applied().revision,
                "database history diverged from the applied log; reloading everything and quarantining ended tokens"
            );
        }
    }

    /// Reads the registry and removes silent replicas; returns whether that succeeded within the time between two
    /// heartbeats, which have priority.
    async fn scan(&self) -> bool {
        let scan = async {
            let applied = self.lease.applied();
            let hash = (applied.revision.0 > 0).then_some(applied.hash);
            match self.state.scan(&self.ledger, &self.timer, CommittedChange { revision: applied.revision, hash }).await
            {
                Ok(rows) => self.state.fence_silent(&self.ledger, &self.timer, &rows).await,
                Err(error) => {
                    tracing::debug!(error = %error, "cannot read the registry of replicas");
                    false
                }
            }
        };
        self.timer.within(self.config.timings.heartbeat, scan).await.unwrap_or(false)
    }

    /// Ends the lease and leaves the registry, unless the database does not answer: waiting for it would only delay the
    /// shutdown.
    pub(super) async fn end(self, does_database_answer: bool) {
        self.state.end_lease();
        // A join whose answer was lost may have added a row; it is removed as well.
        let ids = self.state.me().into_iter().chain(self.joining);
        if !does_database_answer {
            for id in ids {
                tracing::warn!(replica = %id, "shutting down without leaving the registry");
            }
            return;
        }
        for id in ids {
            if let Err(error) = self.ledger.leave(id).await {
                tracing::warn!(
                    replica = %id,
                    error = %error,
                    "cannot leave the registry; the next change waits for the lease of this replica"
                );
            }
        }
        self.ledger.close().await;
    }

    /// Records that the database answers. The change is logged once, not at every heartbeat.
    fn note_answers(&mut self) {
        self.corrupt = None;
        self.failures.end();
        self.note_absence((!self.has_authority()).then_some(EMPTY));
        // If a heartbeat cannot be written, no change can.
        if self.state.set_storage_answers(self.is_written) && self.is_written {
            tracing::info!("replicator connected to the database");
        }
    }

    /// Records what is wrong with the authority in the database; it is logged once.
    fn note_absence(&mut self, absence: Option<&'static str>) {
        if std::mem::replace(&mut self.absence, absence) != absence {
            if let Some(absence) = absence {
                tracing::error!("{absence}");
            } else {
                tracing::info!("the database contains the authority again");
            }
        }
    }

    /// Records a failed step. An outage is logged at intervals. Each corrupt row, which no replica can follow the log
    /// past, is logged once. It is not an outage: the database answered.
    fn note_failure(&mut self, action: Action, error: &StepError) {
        let error = match error {
            StepError::Storage(error) => error,
            StepError::Entropy(cause) => {
                tracing::error!(?action, %cause, "cannot read random bytes; retrying");
                return;
            }
            StepError::OtherAuthority => return self.note_absence(Some(REPLACED)),
        };
        if let StorageError::Corrupt { .. } = error {
            let row = error.to_string();
            if self.corrupt.as_ref() != Some(&row) {
                tracing::error!(?action, error = row, "corrupt row; this replica cannot follow the log past it");
                self.corrupt = Some(row);
            }
            return;
        }
        self.state.set_storage_answers(false);
        tracing::debug!(?action, "heartbeat stopped at this step");
        self.failures.log(error, HEARTBEAT_FAILED, self.timer.now());
    }

    fn random<const N: usize>(&self) -> Result<[u8; N], StepError> {
        let mut bytes = [0; N];
        (self.config.entropy)(&mut bytes).map_err(StepError::Entropy)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use key_authority_domain::account::{Account, KeyPolicy};
    use key_authority_domain::audit::{Action as Change, AuditEvent};
    use key_authority_domain::id::Actor;
    use key_authority_domain::secret::Keyring;
    use tempfile::TempDir;
    use tracing::Level;

    use crate::failure_log::tests::Lines;
    use crate::ledger::SystemTimer;
    use crate::protocol::timings::LeaseTimings;
    use key_authority_storage::Store;

    /// A driver on a fresh database, and a second connection to the database.
    async fn driver(folder: &TempDir) -> (Driver<Store, SystemTimer>, Store) {
        let database_url = format!("sqlite://{}", folder.path().join("authority.db").display());
        let keyring = Arc::new(Keyring::parse(&"07".repeat(32)).unwrap());
        let other = Store::connect(&database_url, 1, Arc::clone(&keyring)).await.unwrap();
        other.migrate(None).await.unwrap();
        let store = Store::connect_one(&database_url, Arc::clone(&keyring)).await.unwrap();
        let timings = LeaseTimings::new(other.lease().await.unwrap());
        let config = ReplicaConfig {
            timings,
            is_alone: false,
            build: "test".into(),
            address: "test".into(),
            entropy: |bytes| {
                bytes.fill(7);
                Ok(())
            },
        };
        let writer = Writer::default();
        let state = Arc::new(ReplicaState::new(Arc::clone(writer.index()), timings));
        (Driver::new(config, state, writer, store, SystemTimer), other)
    }

    async fn make_account(store: &Store) {
        let id = AccountId::new("acme").unwrap();
        let tx = store.begin().await.unwrap();
        let account = Account {
            id: id.clone(),
            display_name: String::new(),
            suspended: false,
            policy: KeyPolicy::default(),
            create_time: Timestamp::from_micros(0),
            update_time: Timestamp::from_micros(0),
            create_revision: tx.revision(),
            revision: tx.revision(),
        };
        tx.insert_account(&account).await.unwrap();
        let (actor, action) = (Actor::bootstrap(), Change::CreateAccount);
        let event = AuditEvent {
            actor,
            subject: None,
            action,
            account: id,
            key_id: None,
            request: None,
            before: None,
            after: None,
        };
        tx.commit(event).await.unwrap();
    }

    #[tokio::test]
    async fn missing_random_bytes_are_not_blamed_on_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let (mut driver, _) = driver(&folder).await;
        driver.state.set_storage_answers(true);
        driver.config.entropy = |_| Err(std::io::Error::other("none today"));
        assert!(!driver.heartbeat().await.unwrap(), "a join needs a random ID");
        assert!(!driver.state.has_lease() && driver.state.storage_answers());
    }

    #[tokio::test]
    async fn a_corrupt_row_is_no_outage_and_is_logged_once() {
        let (lines, _guard) = Lines::collect();
        let folder = tempfile::tempdir().unwrap();
        let (mut driver, _) = driver(&folder).await;
        driver.state.set_storage_answers(true);
        let corrupt = || StorageError::Corrupt { table: "api_key", column: "scopes", id: "key_1".into() };
        for _ in 0..2 {
            driver.note_failure(Action::Load, &StepError::Storage(corrupt()));
        }
        assert!(driver.state.storage_answers(), "the database answered");
        assert_eq!(lines.levels("corrupt row"), [Level::ERROR]);
    }

    #[tokio::test]
    async fn the_first_failed_heartbeat_is_logged_also_at_the_start() {
        let (lines, _guard) = Lines::collect();
        let folder = tempfile::tempdir().unwrap();
        let (mut driver, _) = driver(&folder).await;
        for _ in 0..2 {
            driver.note_failure(Action::Load, &StepError::Storage(StorageError::ReadOnly));
        }
        assert_eq!(lines.levels(HEARTBEAT_FAILED), [Level::WARN, Level::DEBUG]);
        assert!(driver.heartbeat().await.unwrap());
        driver.note_failure(Action::Load, &StepError::Storage(StorageError::ReadOnly));
        assert!(!driver.state.storage_answers());
        assert_eq!(lines.levels(HEARTBEAT_FAILED), [Level::WARN, Level::DEBUG, Level::WARN]);
    }

    #[tokio::test]
    async fn a_shutdown_without_the_database_says_that_the_registry_was_not_left() {
        let (lines, _guard) = Lines::collect();
        let folder = tempfile::tempdir().unwrap();
        let (mut driver, _) = driver(&folder).await;
        assert!(driver.heartbeat().await.unwrap());
        driver.end(false).await;
        assert_eq!(lines.levels("shutting down without leaving the registry"), [Level::WARN]);
        assert!(lines.levels("cannot leave the registry").is_empty());
    }

    #[tokio::test]
    async fn rows_of_another_session_than_the_log_are_not_applied() {
        let folder = tempfile::tempdir().unwrap();
        let (mut driver, other) = driver(&folder).await;
        assert!(driver.heartbeat().await.unwrap());
        make_account(&other).await;
        let feed = driver.read(driver.lease.applied().revision).await.unwrap();
        driver.session += 1;
        assert!(matches!(driver.apply(&feed).await, Ok(Event::Failed)));
        assert_eq!(driver.writer.index().accounts(), 0);
        assert!(driver.heartbeat().await.unwrap());
        assert_eq!(driver.writer.index().accounts(), 1, "rows of the same session are applied");
    }

    #[tokio::test]
    async fn a_row_of_an_unanswered_join_is_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (mut driver, other) = driver(&folder).await;
        assert!(driver.heartbeat().await.unwrap());
        let id = ReplicaId([9; 16]);
        let (lease, build, address) = (driver.config.timings.wait, "test", "test");
        let log_format = LOG_FORMAT_VERSION;
        other.join(Joining { id, nonce: [1; 8], lease, build, log_format, address }).await.unwrap().unwrap();
        driver.joining = Some(id);
        assert_eq!(other.replicas().await.unwrap().len(), 2);
        driver.end(true).await;
        assert_eq!(other.replicas().await.unwrap(), []);
    }
}
