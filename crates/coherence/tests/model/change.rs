//! The steps of the revoking server and of the readers of the registry. `Wait` decides when the change is over;
//! `Observed` decides which rows are silent.

use key_authority_domain::id::{ReplicaId, Revision};
use key_authority_domain::time::Timestamp;
use key_authority_replica::clock::Boottime;
use key_authority_replica::protocol::observed::Observed;
use key_authority_replica::protocol::wait::{Step, Wait};
use key_authority_storage::registry::ReplicaRow;

use crate::moves::Move;
use crate::protocol::Protocol;
use crate::rules::{Flaw, GRACE, Rules, ticks};
use crate::world::{By, Change, Doing, Entry, NOW, Row, Scan, Seen, Stage, Waiting, World};

impl Protocol {
    pub(crate) fn change_step(&self, world: &mut World, action: Move) -> Option<()> {
        let revision = world.log.revocation.map_or(Revision(0), |entry| entry.revision);
        let wait = Wait::new(revision, NOW, self.rules.terms().wait).with_grace(GRACE);
        let waiting_at = |here| Change::Waiting(Waiting { here, wait, was_fenced: false });
        world.change = match (action, world.change) {
            (Move::Commit { here }, Change::Idle) => {
                world.can_serve(here)?;
                let is_committed = !self.rules.has(Flaw::RevisionFromSequence);
                world.log.revocation = Some(Entry { revision: world.log.last().next(), is_committed });
                if is_committed { Change::Committed { here } } else { Change::Numbered { here } }
            }
            (Move::Commit { here }, Change::Numbered { here: before }) if here == before => {
                world.log.revocation.as_mut()?.is_committed = true;
                Change::Committed { here }
            }
            (Move::Acknowledge, Change::Committed { .. }) if self.rules.has(Flaw::NoLease) => Change::Returned,
            (Move::Acknowledge, Change::Committed { here }) => waiting_at(here),
            (Move::Repeat { .. }, Change::Lost) if self.rules.has(Flaw::RepeatedCallReturnsAtOnce) => Change::Returned,
            (Move::Repeat { here }, Change::Lost) => {
                world.can_serve(here)?;
                waiting_at(here)
            }
            (Move::Return, Change::Over { .. }) => Change::Returned,
            (Move::TimeOut, Change::Waiting(waiting)) => {
                let Step::Over(state) = waiting.wait.on_time(NOW) else { return None };
                world.drop_scan_of_revoker();
                Change::Over { here: waiting.here, state, was_fenced: waiting.was_fenced }
            }
            (Move::LoseServer, _) => {
                world.lose_server();
                return Some(());
            }
            _ => return None,
        };
        Some(())
    }

    pub(crate) fn scan_step(&self, world: &mut World, action: Move) -> Option<()> {
        if let Move::Scan(by) = action {
            let can_begin = world.scan.is_none() && (by == By::Cleaner || matches!(world.change, Change::Waiting(_)));
            can_begin.then_some(())?;
            let is_sent = self.rules.has(Flaw::SilenceFromSending);
            let stage = match by {
                _ if is_sent => Some(Stage::Sent { age: 0 }),
                By::Revoker => Some(Stage::Read { rows: world.rows(), age: 0 }),
                By::Cleaner => self.receive_rows(world, by, world.rows(), 0),
            };
            world.scan = stage.map(|stage| Scan { by, stage });
            return Some(());
        }
        let Scan { by, stage } = world.scan.take()?;
        let stage = match (action, stage) {
            (Move::LoseScan, _) => None,
            (Move::ReadRegistry, Stage::Sent { age }) => Some(Stage::Read { rows: world.rows(), age }),
            (Move::Receive, Stage::Read { rows, age }) => self.receive_rows(world, by, rows, age),
            (Move::Fence, Stage::Fencing { mut rows, any }) => {
                let place = rows.iter().position(Option::is_some)?;
                let row = rows.get_mut(place)?.take()?;
                let is_done = world.fence(place, row, !self.rules.has(Flaw::FenceWithoutCompare));
                Some(Stage::Fencing { rows, any: any || is_done })
            }
            (Move::RefuseFence, Stage::Fencing { mut rows, any }) => {
                rows.fill(None);
                Some(Stage::Fencing { rows, any })
            }
            (Move::Fenced, Stage::Fencing { rows, any }) if rows.iter().all(Option::is_none) => {
                if let Change::Waiting(waiting) = &mut world.change {
                    waiting.was_fenced |= any && by == By::Revoker;
                }
                None
            }
            _ => return None,
        };
        world.scan = stage.map(|stage| Scan { by, stage });
        Some(())
    }

    /// Records the rows and acts on them in one step. Only a tick could occur in between, and it would only lengthen
    /// the wait.
    fn receive_rows(&self, world: &mut World, by: By, rows: Vec<Option<Row>>, age: u64) -> Option<Stage> {
        world.note(&rows, age, &self.rules);
        match by {
            By::Cleaner => self.sweep(world, rows),
            By::Revoker => self.decide(world, rows),
        }
    }

    /// Selects the silent rows for removal, in the background.
    fn sweep(&self, world: &World, mut rows: Vec<Option<Row>>) -> Option<Stage> {
        let observed = world.observed();
        for (place, row) in rows.iter_mut().enumerate() {
            *row = row.filter(|row| observed.is_silent(&row.shown(place), self.rules.terms().wait, NOW));
        }
        rows.iter().any(Option::is_some).then_some(Stage::Fencing { rows, any: false })
    }

    /// Executes the decision of `Wait` on these rows.
    fn decide(&self, world: &mut World, mut rows: Vec<Option<Row>>) -> Option<Stage> {
        let Change::Waiting(waiting) = world.change else { return None };
        let mine = waiting.here.and_then(|place| {
            let replica = world.seats.get(place)?.replica.as_ref()?;
            Some((name(place, replica.me?), replica.applied))
        });
        let observed = world.observed();
        if self.rules.has(Flaw::JoiningIgnored) {
            for row in &mut rows {
                *row = row.filter(|row| row.applied != Revision(-1));
            }
        }
        let mut step = waiting.wait.on_rows(&shown(&rows), mine, &observed, NOW);
        if let (Step::Fence(silent), true) = (&step, self.rules.has(Flaw::NoFence)) {
            let mut left = shown(&rows);
            left.retain(|row| silent.iter().all(|(id, _)| *id != row.id));
            step = waiting.wait.on_rows(&left, mine, &observed, NOW);
        }
        match step {
            Step::Over(state) => {
                world.change = Change::Over { here: waiting.here, state, was_fenced: waiting.was_fenced };
                None
            }
            Step::Poll => None,
            Step::Fence(silent) => {
                for (place, row) in rows.iter_mut().enumerate() {
                    *row = row.filter(|row| silent.contains(&(name(place, row.id), [row.nonce; 8])));
                }
                Some(Stage::Fencing { rows, any: false })
            }
        }
    }
}

/// The instant `age` ticks ago.
fn ago(age: u64) -> Boottime {
    Boottime(NOW.0 - age)
}

fn name(place: usize, id: u8) -> ReplicaId {
    ReplicaId([u8::try_from(place * 16).unwrap() + id; 16])
}

fn shown(rows: &[Option<Row>]) -> Vec<ReplicaRow> {
    rows.iter().enumerate().filter_map(|(place, row)| Some((*row)?.shown(place))).collect()
}

impl Row {
    /// The row as the registry returns it.
    fn shown(self, place: usize) -> ReplicaRow {
        ReplicaRow {
            id: name(place, self.id),
            applied: self.applied,
            nonce: [self.nonce; 8],
            build: String::new(),
            address: String::new(),
            join_time: Timestamp::from_micros(0),
            seen_time: Timestamp::from_micros(0),
        }
    }
}

impl Seen {
    fn row(self) -> Row {
        Row { id: self.id, nonce: self.nonce, applied: Revision(-1) }
    }
}

impl Change {
    /// The seat of the server that makes the change, if it is in the model.
    fn here(self) -> Option<usize> {
        match self {
            Self::Idle | Self::Lost | Self::Returned => None,
            Self::Numbered { here }
            | Self::Committed { here }
            | Self::Over { here, .. }
            | Self::Waiting(Waiting { here, .. }) => here,
        }
    }
}

impl World {
    fn rows(&self) -> Vec<Option<Row>> {
        self.seats.iter().map(|seat| seat.row).collect()
    }

    /// The observations of the registry in production's form, recorded oldest first.
    fn observed(&self) -> Observed {
        let seen = self.seats.iter().enumerate().filter_map(|(place, seat)| Some((place, seat.seen?)));
        let mut seen: Vec<_> = seen.collect();
        seen.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.age));
        let (mut observed, mut rows) = (Observed::default(), Vec::new());
        for (place, seen) in seen {
            rows.push(seen.row().shown(place));
            observed.note(&rows, ago(seen.age));
        }
        observed
    }

    /// Records the rows, and stores the resulting observations in the state.
    fn note(&mut self, rows: &[Option<Row>], age: u64, rules: &Rules) {
        let mut observed = self.observed();
        observed.note(&shown(rows), ago(age));
        for (place, (seat, row)) in self.seats.iter_mut().zip(rows).enumerate() {
            let age_of = |row: Row| {
                let has_age = |age: &u64| observed.is_silent(&row.shown(place), ticks(*age), NOW);
                let age = (0..=rules.wait).rev().find(has_age)?;
                Some(Seen { id: row.id, nonce: row.nonce, age })
            };
            seat.seen = row.and_then(age_of).or_else(|| age_of(seat.seen?.row()));
        }
    }

    /// The database removes a row; returns whether it existed.
    fn fence(&mut self, place: usize, row: Row, compares: bool) -> bool {
        let Some(seat) = self.seats.get_mut(place) else { return false };
        let is_there = |now: &Row| now.id == row.id && (now.nonce == row.nonce || !compares);
        let is_hit = seat.row.as_ref().is_some_and(is_there);
        if is_hit {
            (seat.row, seat.stray) = (None, None);
        }
        is_hit
    }

    /// Fails if the server at the seat does not take calls. A server outside the model always does.
    fn can_serve(&self, here: Option<usize>) -> Option<()> {
        let Some(place) = here else { return Some(()) };
        let replica = self.seats.get(place)?.replica.as_ref()?;
        (replica.doing != Doing::Leaving).then_some(())
    }

    /// The server that makes the change fails; its uncommitted transaction is rolled back.
    fn lose_server(&mut self) {
        if let Change::Numbered { .. } = self.change {
            self.log.revocation = None;
            self.change = Change::Idle;
        } else {
            self.change = Change::Lost;
        }
        self.drop_scan_of_revoker();
    }

    /// The process at the seat crashes. Its row stays.
    pub(crate) fn crash(&mut self, place: usize) -> Option<()> {
        let seat = self.seats.get_mut(place)?;
        seat.stray = None;
        seat.replica = None;
        if self.change.here() == Some(place) {
            self.lose_server();
        }
        Some(())
    }

    fn drop_scan_of_revoker(&mut self) {
        self.scan.take_if(|scan| scan.by == By::Revoker);
    }
}
