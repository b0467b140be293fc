//! The database: a log in commit order, a registry, and the lock of the writer.
//!
//! A statement takes effect at one instant. Committed changes are durable. The end of a session rolls its transaction
//! back, and a restart ends all sessions.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use key_authority_domain::audit::ChainHash;
use key_authority_domain::id::{AccountId, KeyId, ReplicaId, Revision};
use key_authority_domain::time::Timestamp;
use key_authority_storage::feed::{Feed, FeedEvent};
use key_authority_storage::registry::{Nonce, ReplicaRow};
use key_authority_storage::settings::Head;

use crate::network::{InFlight, Session};
use crate::scheduler::Time;
use crate::statement::{Answer, Begun, Change, KeySet, RequestId, Statement, only};

/// An entry of the log.
#[derive(Debug, Clone)]
struct Logged {
    revision: Revision,
    hash: ChainHash,
    change: Change,
    key_id: Option<KeyId>,
    committed: Time,
}

/// The configuration of the database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// Revisions come from a sequence, without a lock.
    pub(crate) is_sequence: bool,
}

/// The state of the database.
pub(crate) struct Database {
    setup: Setup,
    account: AccountId,
    log: Vec<Logged>,
    registry: BTreeMap<ReplicaId, (Revision, Nonce)>,
    sequence: Revision,
    /// The session that holds the lock.
    holder: Option<Session>,
    waiting: VecDeque<(Rc<InFlight>, Change)>,
}

/// An answer, and the statement that it answers.
pub(crate) type Answered = (Rc<InFlight>, Answer);

impl Database {
    /// An empty database. None if a constant name in it is invalid.
    pub(crate) fn new(setup: Setup) -> Option<Self> {
        Some(Self {
            setup,
            account: AccountId::new("acme").ok()?,
            log: Vec::new(),
            registry: BTreeMap::new(),
            sequence: Revision(0),
            holder: None,
            waiting: VecDeque::new(),
        })
    }

    /// Executes a statement at `now`, and returns the answers that are ready. Readers see the state at `as_of`.
    pub(crate) fn execute(
        &mut self,
        in_flight: &Rc<InFlight>,
        statement: Statement,
        as_of: Time,
        now: Time,
    ) -> Vec<Answered> {
        let answer = match statement {
            Statement::Begin(change) => {
                if !self.setup.is_sequence && self.holder.is_some_and(|holder| holder != in_flight.session) {
                    self.waiting.push_back((Rc::clone(in_flight), change));
                    return Vec::new();
                }
                self.begin(in_flight.session, change)
            }
            Statement::Commit { revision, change } => {
                if !self.setup.is_sequence && self.holder != Some(in_flight.session) {
                    Answer::Refused
                } else {
                    self.append(revision, change, now);
                    let mut answered = vec![(Rc::clone(in_flight), Answer::Committed)];
                    answered.extend(self.release(in_flight.session));
                    return answered;
                }
            }
            Statement::Rollback => {
                let mut answered = vec![(Rc::clone(in_flight), Answer::Done)];
                answered.extend(self.release(in_flight.session));
                return answered;
            }
            Statement::EventAt(revision) => {
                Answer::Event(self.log.iter().find(|line| line.revision == revision).map(|line| line.change.request))
            }
            other => self.read_or_register(other, as_of, now),
        };
        vec![(Rc::clone(in_flight), answer)]
    }

    fn read_or_register(&mut self, statement: Statement, as_of: Time, now: Time) -> Answer {
        match statement {
            Statement::Join { id, nonce } => {
                self.registry.insert(id, (Revision(-1), nonce));
                Answer::Done
            }
            Statement::Confirm { id, applied, nonce } => {
                let row = self.registry.get_mut(&id);
                Answer::Found(row.map(|row| *row = (applied, nonce)).is_some())
            }
            Statement::Fence { id, nonce } => {
                let is_same = self.registry.get(&id).is_some_and(|row| nonce.is_none_or(|nonce| nonce == row.1));
                Answer::Found(is_same && self.registry.remove(&id).is_some())
            }
            Statement::Leave(id) => Answer::Found(self.registry.remove(&id).is_some()),
            Statement::Replicas => Answer::Replicas(self.registry.iter().map(to_row).collect()),
            Statement::Snapshot => Answer::Snapshot { head: self.head(as_of), revoked: self.revoked(as_of) },
            Statement::Feed { from, limit } => Answer::Feed(self.feed(from, limit, as_of, now)),
            Statement::Rows(keys) => Answer::Revoked(self.revoked(as_of) & keys),
            _ => Answer::Refused,
        }
    }

    fn begin(&mut self, session: Session, change: Change) -> Answer {
        let revision = if self.setup.is_sequence { self.sequence.next() } else { self.end().next() };
        if self.setup.is_sequence {
            self.sequence = revision;
        } else {
            self.holder = Some(session);
        }
        let seen = self.log.iter().find(|line| line.change.request == change.request).map(|line| line.revision);
        let of_key = self.log.iter().rev().find(|line| change.key.is_some() && line.change.key == change.key);
        Answer::Begun(Begun { revision, seen, revoked: of_key.map(|line| line.revision) })
    }

    fn append(&mut self, revision: Revision, change: Change, now: Time) {
        let mut hash = [0; 32];
        for (byte, part) in
            hash.iter_mut().zip(revision.0.to_le_bytes().into_iter().chain(change.request.to_le_bytes()))
        {
            *byte = part;
        }
        let key_id = change.key.and_then(|key| KeyId::new(&key.to_string()).ok());
        let at = self.log.partition_point(|line| line.revision < revision);
        self.log.insert(at, Logged { revision, hash: ChainHash(hash), change, key_id, committed: now });
    }

    /// Ends the session's transaction, and gives the lock to the next session in the queue.
    pub(crate) fn release(&mut self, session: Session) -> Option<Answered> {
        self.waiting.retain(|(in_flight, _)| in_flight.session != session);
        if self.holder != Some(session) {
            return None;
        }
        self.holder = None;
        let (in_flight, change) = self.waiting.pop_front()?;
        let begun = self.begin(in_flight.session, change);
        Some((in_flight, begun))
    }

    /// Ends all sessions; committed changes stay.
    pub(crate) fn restart(&mut self) {
        self.holder = None;
        self.waiting.clear();
    }

    fn seen_at(&self, as_of: Time) -> impl DoubleEndedIterator<Item = &Logged> {
        self.log.iter().filter(move |line| line.committed <= as_of)
    }

    fn head(&self, as_of: Time) -> Head {
        let last = self.seen_at(as_of).next_back();
        last.map_or(Head { revision: Revision(0), hash: ChainHash::default() }, |line| Head {
            revision: line.revision,
            hash: line.hash,
        })
    }

    fn revoked(&self, as_of: Time) -> KeySet {
        self.seen_at(as_of).filter_map(|line| line.change.key).map(only).fold(0, |set, key| set | key)
    }

    fn feed(&self, from: Revision, limit: usize, as_of: Time, now: Time) -> Feed {
        let start = self.log.partition_point(|line| line.revision < from);
        let events = self.log.iter().skip(start).filter(|line| line.committed <= as_of).take(limit);
        let events = events.map(|line| FeedEvent {
            revision: line.revision,
            hash: line.hash,
            account: self.account.clone(),
            key_id: line.key_id.clone(),
            accepts_restore: false,
            key_set: None,
            records_use: false,
            time: key_authority_domain::time::Timestamp::MIN,
        });
        let now = Timestamp::from_micros(i64::try_from(now / 1_000).unwrap_or(0));
        Feed { head: self.head(as_of), now, events: events.collect() }
    }
}

/// Queries for the checks only.
impl Database {
    /// The last revision of the log.
    pub(crate) fn end(&self) -> Revision {
        self.log.last().map_or(Revision(0), |line| line.revision)
    }

    /// The keys that the changes up to `revision` revoke.
    pub(crate) fn revoked_by(&self, revision: Revision) -> KeySet {
        let lines = self.log.iter().filter(|line| line.revision <= revision);
        lines.filter_map(|line| line.change.key).map(only).fold(0, |set, key| set | key)
    }

    /// Every request in the log, with its revision.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (RequestId, Revision)> {
        self.log.iter().map(|line| (line.change.request, line.revision))
    }
}

fn to_row((id, (applied, nonce)): (&ReplicaId, &(Revision, Nonce))) -> ReplicaRow {
    ReplicaRow {
        id: *id,
        applied: *applied,
        nonce: *nonce,
        build: String::new(),
        address: String::new(),
        join_time: Timestamp::from_micros(0),
        seen_time: Timestamp::from_micros(0),
    }
}
