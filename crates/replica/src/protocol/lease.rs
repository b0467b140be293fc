//! The lease: the right of a replica to answer from memory.
//!
//! This is the protocol of `docs/coherence.md` without its I/O. [`Lease::on`] takes an event with its time, and returns
//! the next action. A heartbeat is a timeline:
//!
//! t0: the heartbeat begins; its time is noted.
//! t1: the log is read from the applied revision on.
//! t2: what was read is applied to the index. If the log goes on, t1 and t2 repeat under the same t0.
//! t3: the applied revision is confirmed in the registry.
//! t4: the database acknowledges the confirmation. The lease is extended to t0 plus the trusted time.
//!
//! The lease counts from t0, before anything was sent. A change that is committed after t1 is missing from the index,
//! and waits for at most one lease after its commit; the lease of this heartbeat ends earlier, since t0 precedes the
//! commit and the trusted time is shorter than the wait.

use std::time::Duration;

use key_authority_domain::id::Revision;
use key_authority_storage::feed::Feed;
use key_authority_storage::settings::Head;

use super::timings::LeaseTimings;
use crate::clock::Boottime;

/// Whether a replica whose lease lasts until `deadline` may answer at `now`. Check it before the index is read.
#[must_use]
pub fn may_answer(deadline: Boottime, now: Boottime) -> bool {
    // The feature is the mutant that the fault harness must find. A replica that has not joined yet has an empty index,
    // and would be found at once for the wrong reason.
    now < deadline || (cfg!(feature = "ignore-lease") && deadline != Boottime(0))
}

/// An event of the protocol.
#[derive(Debug)]
pub enum Event<'a> {
    /// A heartbeat is due, or the replicator was woken.
    Due,
    /// This replica's row is in the registry.
    Joined,
    /// The index holds everything, from one snapshot that ends at this head.
    Loaded(Head),
    /// The log was read from the applied revision on.
    Read(&'a Feed),
    /// The index holds what was read.
    Applied,
    /// This replica's row was updated, if it exists.
    Confirmed {
        /// Whether the row exists.
        is_registered: bool,
    },
    /// The last action failed.
    Failed,
}

/// The next action. Each is answered by one event, except [`Action::Rest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read all accounts and keys.
    Load,
    /// Add a fresh row to the registry.
    Join,
    /// Read the log from this revision on.
    Read(Revision),
    /// Apply what was read to the index.
    Apply,
    /// Confirm what is applied.
    Confirm(Head),
    /// Do nothing until the next heartbeat is due.
    Rest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    Loading,
    Joining,
    Reading { t0: Boottime },
    Applying { t0: Boottime, to: Head, is_all: bool },
    Confirming { t0: Boottime },
}

/// The state of the protocol at one replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    timings: LeaseTimings,
    phase: Phase,
    /// Whether the index is a state of the database from which the log can continue.
    is_loaded: bool,
    /// Whether this replica's row is in the registry, as far as it knows.
    is_registered: bool,
    applied: Head,
    /// The beginning (t0) of the last heartbeat that read the log to its end and applied it.
    applied_as_of: Boottime,
    deadline: Boottime,
    /// The last confirmed revision, and the beginning (t0) of its heartbeat.
    confirmed: Option<(Revision, Boottime)>,
    log_divergences: u64,
}

impl Lease {
    /// A replica with an empty index that is not registered.
    #[must_use]
    pub fn new(timings: LeaseTimings) -> Self {
        let applied = Head { revision: Revision(-1), hash: key_authority_domain::audit::ChainHash::default() };
        Self {
            timings,
            phase: Phase::Idle,
            is_loaded: false,
            is_registered: false,
            applied,
            applied_as_of: Boottime(0),
            deadline: Boottime(0),
            confirmed: None,
            log_divergences: 0,
        }
    }

    /// Returns the instant until which the replica may answer; 0 when it may not.
    #[must_use]
    pub fn deadline(&self) -> Boottime {
        self.deadline
    }

    /// Returns the head up to which the log is in the index.
    #[must_use]
    pub fn applied(&self) -> Head {
        self.applied
    }

    /// Returns the instant since which the index is known to be at the end of the log: of the current log, not of one
    /// that a restore has replaced.
    #[must_use]
    pub fn applied_as_of(&self) -> Boottime {
        self.applied_as_of
    }

    /// Returns how often the database was seen to have gone back.
    #[must_use]
    pub fn log_divergences(&self) -> u64 {
        self.log_divergences
    }

    /// Takes the step for `event` at `now`, and returns the next action.
    pub fn on(&mut self, event: &Event<'_>, now: Boottime) -> Action {
        let (phase, action) = match (self.phase, event) {
            (Phase::Idle, Event::Due) => self.begin(now),
            (Phase::Loading, Event::Loaded(head)) => {
                (self.applied, self.is_loaded) = (*head, true);
                self.begin(now)
            }
            (Phase::Joining, Event::Joined) => {
                (self.confirmed, self.is_registered) = (None, true);
                self.begin(now)
            }
            (Phase::Reading { t0 }, Event::Read(feed)) => self.read(t0, feed, now),
            (Phase::Applying { t0, to, is_all }, Event::Applied) => {
                self.applied = to;
                if is_all {
                    self.applied_as_of = t0;
                    (Phase::Confirming { t0 }, Action::Confirm(to))
                } else {
                    (Phase::Reading { t0 }, Action::Read(to.revision))
                }
            }
            (Phase::Confirming { t0 }, Event::Confirmed { is_registered: true }) => {
                self.confirmed = Some((self.applied.revision, t0));
                self.deadline = t0.after(self.timings.trust);
                (Phase::Idle, Action::Rest)
            }
            (Phase::Confirming { .. }, Event::Confirmed { is_registered: false }) => {
                // Another replica waited this one out and removed its row: changes have completed without it since.
                (self.deadline, self.is_registered) = (Boottime(0), false);
                self.begin(now)
            }
            // A failed step leaves the deadline alone: what the index holds stays usable until then.
            (_, Event::Failed) => (Phase::Idle, Action::Rest),
            // An event that does not belong to the phase changes nothing.
            (phase, _) => (phase, Action::Rest),
        };
        self.phase = phase;
        action
    }

    /// Returns the state as it will be after `by`, expressed as if it still were `now`.
    ///
    /// Models keep time as ages, so that their states are finite. Past instants that make no difference to the future
    /// become one.
    #[must_use]
    pub fn aged(&self, by: Duration, now: Boottime) -> Self {
        let age = |time| now.since(time) + by;
        // A heartbeat that began longer ago than the trusted time gives no lease, no matter how long ago it began.
        let begun = |t0| if age(t0) > self.timings.trust { Boottime(0) } else { now.before(age(t0)) };
        let phase = match self.phase {
            Phase::Reading { t0 } => Phase::Reading { t0: begun(t0) },
            Phase::Applying { t0, to, is_all } => Phase::Applying { t0: begun(t0), to, is_all },
            Phase::Confirming { t0 } => Phase::Confirming { t0: begun(t0) },
            phase => phase,
        };
        let is_past = self.deadline < now.after(by);
        let deadline = if is_past { Boottime(0) } else { now.after(self.deadline.since(now.after(by))) };
        let confirmed =
            self.confirmed.map(|(revision, t0)| (revision, now.before(age(t0).min(self.timings.heartbeat))));
        Self { phase, applied_as_of: Boottime(0), deadline, confirmed, ..self.clone() }
    }

    /// Returns the first step of a heartbeat, or what must be done before there can be one.
    ///
    /// Everything is read before the replica registers, so that no change waits meanwhile. It need not be read again
    /// after that: a lease comes only from a heartbeat that reads the log while the row exists, and the log continues
    /// from what was read, no matter how long ago. For the same reason, a replica that was removed only registers
    /// again.
    fn begin(&self, now: Boottime) -> (Phase, Action) {
        if !self.is_loaded {
            (Phase::Loading, Action::Load)
        } else if !self.is_registered {
            (Phase::Joining, Action::Join)
        } else {
            (Phase::Reading { t0: now }, Action::Read(self.applied.revision))
        }
    }

    fn read(&mut self, t0: Boottime, feed: &Feed, now: Boottime) -> (Phase, Action) {
        let Some(to) = follow(self.applied, feed) else {
            (self.log_divergences, self.is_loaded) = (self.log_divergences + 1, false);
            return self.begin(now);
        };
        if to.revision > self.applied.revision {
            return (Phase::Applying { t0, to, is_all: to.revision >= feed.head.revision }, Action::Apply);
        }
        self.applied_as_of = t0;
        let is_due = self
            .confirmed
            .is_none_or(|(revision, last)| revision < to.revision || now.since(last) >= self.timings.heartbeat);
        if is_due { (Phase::Confirming { t0 }, Action::Confirm(to)) } else { (Phase::Idle, Action::Rest) }
    }
}

/// Returns the head that the log leads to from `applied`. Returns `None` when the log does not continue from there: the
/// event at the applied revision is missing or different, the head is before it, or an event is missing.
fn follow(applied: Head, feed: &Feed) -> Option<Head> {
    let mut last = applied;
    let mut events = feed.events.iter();
    if applied.revision.0 > 0 {
        events.next().filter(|event| event.revision == applied.revision && event.hash == applied.hash)?;
    }
    for event in events {
        if event.revision != last.revision.next() {
            return None;
        }
        last = Head { revision: event.revision, hash: event.hash };
    }
    let is_whole = last.revision < feed.head.revision || last == feed.head;
    // A reading that a limit on its length has cut brings at least one new event. If it brings none although the log
    // goes on, the events after the applied revision are missing.
    let lacks_events = last.revision < feed.head.revision && last.revision == applied.revision;
    (is_whole && !lacks_events).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use key_authority_domain::audit::ChainHash;
    use key_authority_domain::id::AccountId;
    use key_authority_domain::time::Timestamp;
    use key_authority_storage::feed::FeedEvent;

    const SECOND: u64 = 1_000_000_000;

    fn head(revision: i64) -> Head {
        Head { revision: Revision(revision), hash: hash(revision) }
    }

    fn hash(revision: i64) -> ChainHash {
        if revision == 0 { ChainHash::default() } else { ChainHash([u8::try_from(revision).unwrap(); 32]) }
    }

    fn feed(from: i64, to: i64) -> Feed {
        let event = |revision| FeedEvent {
            revision: Revision(revision),
            hash: hash(revision),
            time: Timestamp::from_micros(0),
            account: AccountId::new("acme").unwrap(),
            key_id: None,
            accepts_restore: false,
            key_set: None,
            records_use: false,
        };
        Feed { head: head(to), now: Timestamp::from_micros(0), events: (from.max(1)..=to).map(event).collect() }
    }

    /// A replica that has loaded revision 3 and confirmed it in a heartbeat that began at second 1.
    fn following() -> Lease {
        let mut lease = Lease::new(LeaseTimings::new(Duration::from_secs(10)));
        let now = Boottime(SECOND);
        assert_eq!(lease.on(&Event::Due, now), Action::Load);
        assert_eq!(lease.on(&Event::Loaded(head(3)), now), Action::Join);
        assert_eq!(lease.on(&Event::Joined, now), Action::Read(Revision(3)));
        assert_eq!(lease.on(&Event::Read(&feed(3, 3)), now), Action::Confirm(head(3)));
        assert_eq!(lease.deadline(), Boottime(0));
        assert_eq!(lease.on(&Event::Confirmed { is_registered: true }, Boottime(3 * SECOND)), Action::Rest);
        lease
    }

    #[test]
    fn the_lease_counts_from_before_the_heartbeat_was_sent() {
        assert_eq!(following().deadline(), Boottime(9 * SECOND));
    }

    #[test]
    fn a_change_is_applied_before_it_is_confirmed() {
        let mut lease = following();
        let now = Boottime(4 * SECOND);
        assert_eq!(lease.on(&Event::Due, now), Action::Read(Revision(3)));
        assert_eq!(lease.on(&Event::Read(&feed(3, 5)), now), Action::Apply);
        assert_eq!(lease.applied(), head(3));
        assert_eq!(lease.on(&Event::Applied, now), Action::Confirm(head(5)));
        assert_eq!(lease.applied(), head(5));
        assert_eq!(lease.deadline(), Boottime(9 * SECOND));
        lease.on(&Event::Confirmed { is_registered: true }, now);
        assert_eq!(lease.deadline(), Boottime(12 * SECOND));
    }

    #[test]
    fn a_fenced_replica_stops_and_joins_anew_and_goes_on_from_where_it_was() {
        let mut lease = following();
        let now = Boottime(5 * SECOND);
        lease.on(&Event::Due, now);
        assert_eq!(lease.on(&Event::Read(&feed(3, 3)), now), Action::Confirm(head(3)));
        assert_eq!(lease.on(&Event::Confirmed { is_registered: false }, now), Action::Join);
        assert_eq!(lease.deadline(), Boottime(0));
        // The row may be removed again before the join completes; the index stays usable.
        assert_eq!(lease.on(&Event::Failed, now), Action::Rest);
        assert_eq!(lease.on(&Event::Due, now), Action::Join);
        assert_eq!(lease.on(&Event::Joined, now), Action::Read(Revision(3)));
        assert_eq!(lease.on(&Event::Read(&feed(3, 4)), now), Action::Apply);
        assert_eq!(lease.on(&Event::Applied, now), Action::Confirm(head(4)));
        assert_eq!(lease.deadline(), Boottime(0));
        lease.on(&Event::Confirmed { is_registered: true }, now);
        assert_eq!(lease.deadline(), Boottime(13 * SECOND));
    }

    #[test]
    fn an_outage_leaves_the_deadline_alone() {
        let mut lease = following();
        for second in 4..9 {
            assert_eq!(lease.on(&Event::Due, Boottime(second * SECOND)), Action::Read(Revision(3)));
            assert_eq!(lease.on(&Event::Failed, Boottime(second * SECOND)), Action::Rest);
        }
        assert_eq!(lease.deadline(), Boottime(9 * SECOND));
    }

    #[test]
    fn a_quiet_log_is_confirmed_once_a_heartbeat() {
        let mut lease = following();
        lease.on(&Event::Due, Boottime(SECOND + SECOND / 2));
        assert_eq!(lease.on(&Event::Read(&feed(3, 3)), Boottime(SECOND + SECOND / 2)), Action::Rest);
        lease.on(&Event::Due, Boottime(2 * SECOND));
        assert_eq!(lease.on(&Event::Read(&feed(3, 3)), Boottime(2 * SECOND)), Action::Confirm(head(3)));
    }

    #[test]
    fn a_diverged_log_is_reloaded() {
        let other = |mut feed: Feed| {
            feed.events[0].hash = ChainHash([99; 32]);
            feed
        };
        let gap = |mut feed: Feed| {
            feed.events.remove(1);
            feed
        };
        for feed in [other(feed(3, 4)), feed(3, 2), gap(feed(3, 5)), Feed { head: head(2), ..feed(3, 3) }] {
            let mut lease = following();
            lease.on(&Event::Due, Boottime(4 * SECOND));
            assert_eq!(lease.on(&Event::Read(&feed), Boottime(4 * SECOND)), Action::Load, "{feed:?}");
            assert_eq!(lease.log_divergences(), 1);
            assert_eq!(lease.on(&Event::Loaded(head(2)), Boottime(4 * SECOND)), Action::Read(Revision(2)));
        }
    }

    #[test]
    fn a_reading_of_the_first_event_alone_is_followed() {
        let first = Feed { head: head(3), ..feed(0, 1) };
        assert_eq!(follow(head(0), &first), Some(head(1)), "an import ends the reading");
        assert_eq!(follow(head(0), &Feed { events: vec![], ..first }), None, "its events are missing");
        assert_eq!(follow(head(3), &Feed { head: head(9), ..feed(3, 3) }), None, "the same after an applied event");
    }

    #[test]
    fn a_long_log_is_followed_in_parts_within_one_heartbeat() {
        let mut lease = following();
        lease.on(&Event::Due, Boottime(4 * SECOND));
        let part = Feed { head: head(9), ..feed(3, 6) };
        assert_eq!(lease.on(&Event::Read(&part), Boottime(4 * SECOND)), Action::Apply);
        assert_eq!(lease.on(&Event::Applied, Boottime(5 * SECOND)), Action::Read(Revision(6)));
        assert_eq!(lease.on(&Event::Read(&feed(6, 9)), Boottime(6 * SECOND)), Action::Apply);
        assert_eq!(lease.on(&Event::Applied, Boottime(6 * SECOND)), Action::Confirm(head(9)));
        lease.on(&Event::Confirmed { is_registered: true }, Boottime(7 * SECOND));
        assert_eq!(lease.deadline(), Boottime(12 * SECOND));
    }
}
