//! The state: a database, a change, an observer of the registry, and seats for replicas.
//!
//! The number of states is finite, since times are ages and IDs are numbers: the clock always shows [`NOW`], a tick
//! moves every instant back, and random IDs and nonces are numbered in the order of their occurrence. Only their
//! equality matters.

use std::time::Duration;

use key_authority_domain::id::Revision;
use key_authority_replica::clock::Boottime;
use key_authority_replica::protocol::lease::{Action, Lease};
use key_authority_replica::protocol::wait::{PropagationState, Wait};

use crate::rules::{Flaw, Rules};

/// The constant reading of the clock.
pub(crate) const NOW: Boottime = Boottime(1_000);
/// The unit of time.
pub(crate) const TICK: Duration = Duration::from_nanos(1);
/// A new ID or nonce, different from all others.
pub(crate) const FRESH: u8 = u8::MAX;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) log: Log,
    pub(crate) change: Change,
    pub(crate) scan: Option<Scan>,
    pub(crate) seats: Vec<Seat>,
}

/// The log after its first event: the revocation of the key, and a change of something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Log {
    pub(crate) revocation: Option<Entry>,
    pub(crate) other: Option<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) revision: Revision,
    pub(crate) is_committed: bool,
}

impl Log {
    pub(crate) const FIRST: Revision = Revision(1);

    /// The committed entries up to `revision`.
    pub(crate) fn visible(self, revision: Revision) -> Self {
        let is_visible = |entry: &Entry| entry.is_committed && entry.revision <= revision;
        Self { revocation: self.revocation.filter(is_visible), other: self.other.filter(is_visible) }
    }

    /// The highest revision, committed or not.
    pub(crate) fn last(self) -> Revision {
        let entries = [self.revocation, self.other];
        entries.iter().flatten().map(|entry| entry.revision).max().unwrap_or(Self::FIRST)
    }

    pub(crate) fn committed(self) -> Self {
        self.visible(self.last())
    }
}

/// The progress of the revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    Idle,
    /// It has a revision, but is not committed. Only with revisions from a sequence.
    Numbered {
        here: Option<usize>,
    },
    /// Committed, but the server does not know yet. `here` is the seat of the server, if it is in the model.
    Committed {
        here: Option<usize>,
    },
    Waiting(Waiting),
    /// Propagated, but the client does not know yet.
    Over {
        here: Option<usize>,
        state: PropagationState,
        was_fenced: bool,
    },
    /// The server failed. The client will repeat its call elsewhere.
    Lost,
    Returned,
}

/// A server that waits for propagation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Waiting {
    pub(crate) here: Option<usize>,
    pub(crate) wait: Wait,
    pub(crate) was_fenced: bool,
}

/// A reader of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum By {
    /// The server that waits for the change.
    Revoker,
    /// A replica that removes silent rows in the background.
    Cleaner,
}

/// One read of the registry and its consequences. One at a time suffices: two reads interact through the registry only,
/// and either could have happened later.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scan {
    pub(crate) by: By,
    pub(crate) stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Sent `age` ticks ago. A stage of its own only if silence counts from sending.
    Sent { age: u64 },
    /// The database has read the rows.
    Read { rows: Vec<Option<Row>>, age: u64 },
    /// The rows to remove. `any` is whether one was removed.
    Fencing { rows: Vec<Option<Row>>, any: bool },
}

/// A replica and its row. The row of a dead replica stays until the next replica at the seat inserts its own. Removing
/// it then is safe for the model: a row without a replica can only make the change wait.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Seat {
    pub(crate) row: Option<Row>,
    pub(crate) seen: Option<Seen>,
    /// An UPDATE that timed out and will arrive later.
    pub(crate) stray: Option<Revision>,
    pub(crate) replica: Option<Replica>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) id: u8,
    pub(crate) nonce: u8,
    pub(crate) applied: Revision,
}

/// An observation of a row. Each step builds an `Observed` from these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) id: u8,
    pub(crate) nonce: u8,
    /// Ticks since it was first seen so.
    pub(crate) age: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    pub(crate) lease: Lease,
    pub(crate) doing: Doing,
    /// The ID under which it joined.
    pub(crate) me: Option<u8>,
    /// The deadline that a Verify loads.
    pub(crate) deadline: Boottime,
    /// The applied revision, as a waiting change on this server sees it.
    pub(crate) applied: Revision,
    /// Whether the index holds the key as active.
    pub(crate) is_active: bool,
    /// Whether the read but unapplied events name the key.
    pub(crate) names_key: bool,
    pub(crate) verify: Verify,
}

/// The activity of the replicator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Doing {
    Rest,
    /// The lease has decided, but its deadline is not published yet.
    Publish {
        deadline: Boottime,
        action: Action,
    },
    /// The statement is in flight.
    Sent(Action),
    /// The database has executed the statement; the answer is in flight.
    Answered(Answer),
    /// The rows are in the index, but the lease has not received the answer yet.
    Written(Answer),
    /// It has given up its lease, and removes its row next.
    Leaving,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Joined(u8),
    Snapshot(Log),
    Feed {
        from: Revision,
        log: Log,
        /// Whether it ends after two events for its length.
        is_cut: bool,
    },
    /// The rows that the feed names. None if the key is not among them.
    Rows {
        is_active: Option<bool>,
    },
    Confirmed {
        is_registered: bool,
    },
}

/// A Verify of the key. `is_late` is whether it started after the revocation returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verify {
    Idle,
    Loaded { deadline: Boottime, is_late: bool },
    Permitted { is_late: bool },
    Accepted { is_late: bool },
}

/// The deadline after `by` has passed; 0 if it is in the past. A deadline at this very instant is kept, since
/// `may_answer` decides about it.
fn aged(deadline: Boottime, by: Duration) -> Boottime {
    let now = NOW.after(by);
    if deadline < now { Boottime(0) } else { NOW.after(deadline.since(now)) }
}

impl World {
    /// Moves all instants back by one tick. Ages stop at the length of the wait, since longer ones make no difference.
    pub(crate) fn tick(&mut self, rules: &Rules) {
        let older = |age: &mut u64| *age = (*age + 1).min(rules.wait);
        if let Change::Waiting(waiting) = &mut self.change
            && rules.ends_by_time
        {
            waiting.wait = waiting.wait.aged(TICK, NOW);
        }
        if let Some(Scan { stage: Stage::Sent { age } | Stage::Read { age, .. }, .. }) = &mut self.scan
            && rules.has(Flaw::SilenceFromSending)
        {
            older(age);
        }
        for seat in &mut self.seats {
            if let Some(seen) = &mut seat.seen {
                older(&mut seen.age);
            }
            if let Some(replica) = &mut seat.replica {
                replica.tick();
            }
        }
    }

    /// Renumbers IDs and nonces.
    pub(crate) fn rename(&mut self) {
        for (place, seat) in self.seats.iter_mut().enumerate() {
            let scanned = self.scan.as_mut().and_then(|scan| match &mut scan.stage {
                Stage::Sent { .. } => None,
                Stage::Read { rows, .. } | Stage::Fencing { rows, .. } => rows.get_mut(place).and_then(Option::as_mut),
            });
            let (mut ids, mut nonces) = (Names::default(), Names::default());
            for row in seat.row.iter_mut().chain(scanned) {
                ids.rename(&mut row.id);
                nonces.rename(&mut row.nonce);
            }
            if let Some(seen) = &mut seat.seen {
                ids.rename(&mut seen.id);
                nonces.rename(&mut seen.nonce);
            }
            let Some(replica) = &mut seat.replica else { continue };
            if let Doing::Answered(Answer::Joined(id)) = &mut replica.doing {
                ids.rename(id);
            }
            if let Some(me) = &mut replica.me {
                ids.rename(me);
            }
        }
    }
}

impl Replica {
    fn tick(&mut self) {
        self.lease = self.lease.aged(TICK, NOW);
        self.deadline = aged(self.deadline, TICK);
        if let Verify::Loaded { deadline, .. } = &mut self.verify {
            *deadline = aged(*deadline, TICK);
        }
        if let Doing::Publish { deadline, .. } = &mut self.doing {
            *deadline = aged(*deadline, TICK);
        }
    }
}

/// Numbers IDs in the order of their occurrence.
#[derive(Default)]
struct Names {
    found: [u8; 8],
    count: u8,
}

impl Names {
    fn rename(&mut self, name: &mut u8) {
        let mut found = (0..self.count).zip(self.found);
        let known = found.find(|(_, old)| old == name).map(|(number, _)| number);
        *name = known.unwrap_or_else(|| {
            if let Some(free) = self.found.get_mut(usize::from(self.count)) {
                *free = *name;
            }
            self.count += 1;
            self.count - 1
        });
    }
}
