//! The replicator: production's loop around the lease, step by step, on the simulated database. [`Lease::on`] decides
//! the next action.

use std::collections::BTreeSet;
use std::time::Duration;

use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_replica::clock::Boottime;
use key_authority_replica::protocol::lease::{Action, Event, Lease};
use key_authority_replica::protocol::timings::LeaseTimings;
use key_authority_storage::feed::Feed;
use key_authority_storage::settings::Head;

use crate::check::Kind;
use crate::network::{Connection, ConnectionLost};
use crate::process::Server;
use crate::scheduler::Time;
use crate::statement::{KeySet, only};
use crate::variant::Variant;

const RETRY_INTERVAL: Duration = Duration::from_millis(200);
const SCAN_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the process up to date until it leaves.
pub(crate) async fn run(server: Server) {
    let world = &server.world;
    let lease = Lease::new(timings_for(world.terms, world.variant));
    let connection = Connection::open(world, &server.process.host);
    let unsafe_state = UnsafeState::default();
    let mut driver =
        Driver { server: server.clone(), connection, lease, feed: None, me: None, due: Boottime(0), unsafe_state };
    let mut scanned = Boottime(0);
    loop {
        let pause = if driver.heartbeat().await { driver.poll_interval() } else { RETRY_INTERVAL };
        if server.boottime().since(scanned) >= SCAN_INTERVAL {
            scanned = server.boottime();
            driver.scan().await;
        }
        if server.rest(pause).await {
            break;
        }
    }
    driver.leave().await;
}

/// The lease timings, with a longer trust period in an unsafe variant.
fn timings_for(terms: LeaseTimings, variant: Option<Variant>) -> LeaseTimings {
    if variant == Some(Variant::TrustTooLong) { LeaseTimings { trust: terms.wait * 3 / 2, ..terms } } else { terms }
}

impl Server {
    /// Rests for `pause` or until a wake-up. Returns whether the process leaves.
    async fn rest(&self, pause: Duration) -> bool {
        let is_woken = std::future::poll_fn(|_| {
            if self.process.is_leaving.get() || self.process.take_wake() {
                return std::task::Poll::Ready(());
            }
            std::task::Poll::Pending
        });
        let _ = self.until(self.boottime().after(pause), is_woken).await;
        self.process.is_leaving.get()
    }
}

/// Executes the actions of the lease.
struct Driver {
    server: Server,
    connection: Connection,
    lease: Lease,
    feed: Option<Feed>,
    me: Option<ReplicaId>,
    /// When the current heartbeat was due.
    due: Boottime,
    unsafe_state: UnsafeState,
}

/// State of the unsafe variants.
#[derive(Default)]
struct UnsafeState {
    /// Keys that are confirmed but not in the index yet.
    late: KeySet,
    /// Until when heartbeats do not read the log.
    bare_until: Time,
    /// The end of the lease, counted from the answer.
    deadline: Boottime,
}

impl Driver {
    fn poll_interval(&self) -> Duration {
        Duration::from_nanos(self.server.world.profile.poll)
    }

    fn has(&self, variant: Variant) -> bool {
        self.server.world.variant == Some(variant)
    }

    /// Runs a heartbeat, and returns whether every step of it succeeded.
    async fn heartbeat(&mut self) -> bool {
        let mut event = Event::Due;
        let mut feed;
        loop {
            let now = self.server.boottime();
            if matches!(event, Event::Due | Event::Loaded(_) | Event::Joined) {
                self.due = now;
            }
            self.server.stall().await;
            let action = self.lease.on(&event, now);
            self.publish(&event).await;
            self.server.world.note(|| format!("{}: {action:?}", self.server.process.host));
            self.server.stall().await;
            let done = match action {
                Action::Rest => return !matches!(event, Event::Failed),
                Action::Join => self.join().await.map(|()| Event::Joined),
                Action::Load => self.load().await.map(Event::Loaded),
                Action::Apply => self.apply().await.map(|()| Event::Applied),
                Action::Confirm(head) => {
                    self.confirm(head).await.map(|is_registered| Event::Confirmed { is_registered })
                }
                Action::Read(from) => match self.read(from).await {
                    Ok(read) => {
                        feed = read;
                        self.feed = Some(feed.clone());
                        Ok(Event::Read(&feed))
                    }
                    Err(ConnectionLost) => Err(ConnectionLost),
                },
            };
            event = done.unwrap_or(Event::Failed);
        }
    }

    /// Publishes the lease to the readers.
    async fn publish(&mut self, event: &Event<'_>) {
        let is_confirmed = matches!(event, Event::Confirmed { is_registered: true });
        if is_confirmed {
            self.server.process.confirmed.set(Some(self.due));
        }
        if self.lease.log_divergences() > 0 {
            let what = || format!("{} reports a divergence of the log", self.server.process.host);
            self.server.world.check.fail(Kind::FalseAlarm, what);
        }
        let deadline = self.deadline(is_confirmed);
        self.server.publish(deadline, self.lease.applied().revision);
        if is_confirmed && self.unsafe_state.late != 0 {
            self.server.stall().await;
            let index = &self.server.process.index;
            index.set(index.get() | std::mem::take(&mut self.unsafe_state.late));
        }
    }

    fn deadline(&mut self, is_confirmed: bool) -> Boottime {
        let deadline = self.lease.deadline();
        if !self.has(Variant::LeaseFromReply) || deadline == Boottime(0) {
            return deadline;
        }
        if is_confirmed {
            self.unsafe_state.deadline = self.server.boottime().after(self.server.world.terms.trust);
        }
        self.unsafe_state.deadline
    }

    async fn join(&mut self) -> Result<(), ConnectionLost> {
        let (id, nonce) = (ReplicaId(self.server.world.rng.bytes()), self.server.world.rng.bytes());
        self.connection.join(id, nonce).await?;
        self.server.world.statistics.borrow_mut().joins += 1;
        self.me = Some(id);
        self.server.process.me.set(self.me);
        Ok(())
    }

    async fn load(&mut self) -> Result<Head, ConnectionLost> {
        let (head, revoked) = self.connection.snapshot().await?;
        self.server.stall().await;
        self.server.process.index.set(revoked);
        Ok(head)
    }

    async fn read(&mut self, from: Revision) -> Result<Feed, ConnectionLost> {
        if self.has(Variant::BareRenewal) {
            let world = &self.server.world;
            if world.now() < self.unsafe_state.bare_until {
                return Ok(nothing_new(self.lease.applied()));
            }
            self.unsafe_state.bare_until = world.now() + world.rng.of_any_scale(24, 35);
        }
        self.connection.feed(from).await
    }

    async fn apply(&mut self) -> Result<(), ConnectionLost> {
        let Some(feed) = self.feed.take() else { return Ok(()) };
        let named = keys(&feed);
        if self.has(Variant::ConfirmBeforeApply) {
            self.unsafe_state.late |= named;
            return Ok(());
        }
        let revoked = self.connection.rows(named).await?;
        self.server.stall().await;
        let index = &self.server.process.index;
        index.set(index.get() & !named | revoked & named);
        Ok(())
    }

    async fn confirm(&mut self, head: Head) -> Result<bool, ConnectionLost> {
        let Some(me) = self.me else { return Ok(false) };
        let nonce = self.server.world.rng.bytes();
        let is_registered = self.connection.confirm(me, head.revision, nonce).await?;
        if !is_registered {
            self.server.world.statistics.borrow_mut().rejoins += 1;
        }
        Ok(is_registered || self.has(Variant::IgnoreZeroRows))
    }

    /// Removes the rows of silent replicas.
    async fn scan(&mut self) {
        let Ok(rows) = self.server.scan(&mut self.connection).await else { return };
        if self.has(Variant::NoFence) {
            return;
        }
        let (process, wait) = (&self.server.process, self.server.world.terms.wait);
        let silent: BTreeSet<_> = rows
            .iter()
            .filter(|row| process.me.get() != Some(row.id))
            .filter(|row| process.observed.borrow().is_silent(row, wait, self.server.boottime()))
            .map(|row| (row.id, row.nonce))
            .collect();
        self.server.fence(&mut self.connection, silent).await;
    }

    async fn leave(mut self) {
        self.server.publish(Boottime(0), self.lease.applied().revision);
        self.server.step().await;
        if let Some(me) = self.me {
            let _ = self.connection.leave(me).await;
        }
        self.server.process.has_left.set(true);
    }
}

/// The keys that the events of a feed name.
fn keys(feed: &Feed) -> KeySet {
    let named = feed.events.iter().filter_map(|event| event.key_id.as_ref()?.as_str().parse().ok());
    named.map(only).fold(0, |set, key| set | key)
}

/// A feed without new events.
fn nothing_new(applied: Head) -> Feed {
    use key_authority_domain::id::AccountId;
    use key_authority_domain::time::Timestamp;
    use key_authority_storage::feed::FeedEvent;
    let event = AccountId::new("acme").ok().filter(|_| applied.revision.0 > 0);
    let Head { revision, hash } = applied;
    let event = event.map(|account| FeedEvent {
        revision,
        hash,
        account,
        key_id: None,
        accepts_restore: false,
        key_set: None,
        records_use: false,
        time: key_authority_domain::time::Timestamp::MIN,
    });
    Feed { head: applied, now: Timestamp::from_micros(0), events: event.into_iter().collect() }
}
