//! The state: a database, a change on its way, an observer of the registry, and the seats at which replicas sit.
//!
//! Time is kept as ages and names as places, so that there are finitely many states: it is always [`NOW`], a tick moves
//! every instant back, and the random names and nonces are numbered in the order in which they are found. Only whether two
//! of them are the same means anything.

use std::time::Duration;

use key_authority_domain::id::Revision;
use key_authority_replica::clock::Boottime;
use key_authority_replica::protocol::lease::{Action, Lease};
use key_authority_replica::protocol::wait::{PropagationState, Wait};

use crate::rules::{Flaw, Rules};

/// What the clock always says.
pub(crate) const NOW: Boottime = Boottime(1_000);
/// The unit of time.
pub(crate) const TICK: Duration = Duration::from_nanos(1);
/// A name or a nonce that was just made up: equal to no other.
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

    /// What a reader sees who sees nothing after `revision`.
    pub(crate) fn visible(self, revision: Revision) -> Self {
        let is_visible = |entry: &Entry| entry.is_committed && entry.revision <= revision;
        Self { revocation: self.revocation.filter(is_visible), other: self.other.filter(is_visible) }
    }

    /// The highest revision of what is here, committed or not.
    pub(crate) fn last(self) -> Revision {
        let entries = [self.revocation, self.other];
        entries.iter().flatten().map(|entry| entry.revision).max().unwrap_or(Self::FIRST)
    }

    pub(crate) fn committed(self) -> Self {
        self.visible(self.last())
    }
}

/// How far the revocation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    Idle,
    /// Its revision was taken, and nothing committed. Only when revisions come from a sequence.
    Numbered {
        here: Option<usize>,
    },
    /// The server does not know yet. `here` is the seat of the replica that this server is, if it is one of the model's.
    Committed {
        here: Option<usize>,
    },
    Waiting(Waiting),
    /// The server knows that it is over; the client does not yet.
    Over {
        here: Option<usize>,
        state: PropagationState,
        was_fenced: bool,
    },
    /// The server went away. The client will ask again, elsewhere.
    Lost,
    Returned,
}

/// A server that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Waiting {
    pub(crate) here: Option<usize>,
    pub(crate) wait: Wait,
    pub(crate) was_fenced: bool,
}

/// Who reads the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum By {
    /// The server that waits for the change.
    Revoker,
    /// A replica that looks, in the background, for silent others.
    Cleaner,
}

/// One reading of the registry, and what comes of it. One at a time: the steps of two concern each other only through
/// the registry, and either's could have been done later.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scan {
    pub(crate) by: By,
    pub(crate) stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Asked for, that many ticks ago. Only when "unchanged since" counts from there: else nothing depends on it.
    Sent { age: u64 },
    /// The database has read the rows.
    Read { rows: Vec<Option<Row>>, age: u64 },
    /// These rows are to be removed. `any` is whether one was.
    Fencing { rows: Vec<Option<Row>>, any: bool },
}

/// A replica and its row. A row whose replica has died stays; the next to sit there enters a row of its own, and then the
/// old one is forgotten, which is more than can happen: a row without a replica can only make the change wait.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Seat {
    pub(crate) row: Option<Row>,
    pub(crate) seen: Option<Seen>,
    /// An UPDATE that the replica has given up, and that will arrive all the same.
    pub(crate) stray: Option<Revision>,
    pub(crate) replica: Option<Replica>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) id: u8,
    pub(crate) nonce: u8,
    pub(crate) applied: Revision,
}

/// What an `Observed` says of a row. It is built from this at each step.
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
    /// The name under which it joined.
    pub(crate) me: Option<u8>,
    /// The deadline that a Verify loads.
    pub(crate) deadline: Boottime,
    /// The revision that a waiting mutation of this server sees.
    pub(crate) applied: Revision,
    /// Whether the index holds the key as active.
    pub(crate) is_active: bool,
    /// Whether what was read and is not applied yet names the key.
    pub(crate) names_key: bool,
    pub(crate) verify: Verify,
}

/// What the replicator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Doing {
    Rest,
    /// The lease has spoken; a Verify does not see it yet.
    Publish {
        deadline: Boottime,
        action: Action,
    },
    /// The statement is on its way.
    Asked(Action),
    /// The database has done it; the answer is on its way.
    Answered(Answer),
    /// What was read is in the index; the lease does not know it yet.
    Written(Answer),
    /// It has given up its lease, and is about to remove its row.
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
    /// The rows that the feed names. None when the key is not among them.
    Rows {
        is_active: Option<bool>,
    },
    Confirmed {
        is_registered: bool,
    },
}

/// A Verify of the key. `is_late` is whether it was invoked after the revocation had returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verify {
    Idle,
    Loaded { deadline: Boottime, is_late: bool },
    Permitted { is_late: bool },
    Accepted { is_late: bool },
}

/// The deadline `by` later; 0 when it is past. The very instant is not: what `may_answer` says of it matters.
fn aged(deadline: Boottime, by: Duration) -> Boottime {
    let now = NOW.after(by);
    if deadline < now { Boottime(0) } else { NOW.after(deadline.since(now)) }
}

impl World {
    /// Moves all instants back by one tick. No age grows beyond the wait, where nothing depends on it any more.
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

    /// Gives names and nonces their numbers.
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

/// Numbers in the order in which they were found.
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
