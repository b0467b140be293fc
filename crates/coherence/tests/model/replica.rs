//! The steps of a replica. `Lease::on` decides what it does; `may_answer` decides whether it answers.

use std::time::Duration;

use key_authority_domain::audit::ChainHash;
use key_authority_domain::id::Revision;
use key_authority_domain::time::Timestamp;
use key_authority_replica::clock::Boottime;
use key_authority_replica::protocol::lease::{Action, Event, Lease, may_answer};
use key_authority_storage::feed::{Feed, FeedEvent};
use key_authority_storage::settings::Head;

use crate::moves::Step;
use crate::protocol::Protocol;
use crate::rules::{Flaw, Rules};
use crate::world::{Answer, Change, Doing, FRESH, Log, NOW, Replica, Row, Seat, Verify, World};

impl Protocol {
    pub(crate) fn replica_step(&self, world: &mut World, place: usize, step: Step) -> Option<()> {
        let is_returned = world.change == Change::Returned;
        let log = world.log.committed();
        let seat = world.seats.get_mut(place)?;
        match step {
            Step::Start => {
                let is_free = seat.replica.is_none();
                is_free.then(|| seat.replica = Some(Replica::new(&self.rules)))
            }
            Step::Crash => world.crash(place),
            Step::StrayArrives => {
                let applied = seat.stray.take()?;
                seat.update(applied);
                Some(())
            }
            Step::Execute if seat.replica.as_ref()?.doing == Doing::Leaving => {
                seat.row = None;
                world.crash(place)
            }
            Step::Execute => seat.execute(log, false),
            Step::ExecuteCut => seat.execute_cut(log),
            Step::ExecuteOld(revision) => seat.execute(log.visible(revision), false),
            Step::GiveUp => {
                let replica = seat.replica.as_mut()?;
                let Doing::Sent(Action::Confirm(head)) = replica.doing else { return None };
                seat.stray = Some(head.revision);
                replica.on_event(&self.rules, &Event::Failed);
                Some(())
            }
            Step::LoadDeadline | Step::ReadClock | Step::ReadIndex | Step::Answer => {
                seat.replica.as_mut()?.verify(step, is_returned, self.rules.has(Flaw::NoLease))
            }
            Step::Leave | Step::Due | Step::Publish | Step::Write | Step::Receive | Step::Fail | Step::WriteLate => {
                self.drive(seat.replica.as_mut()?, step)
            }
        }
    }

    /// The steps of the replicator within its own process.
    fn drive(&self, replica: &mut Replica, step: Step) -> Option<()> {
        match (step, replica.doing) {
            (Step::Due, Doing::Rest) => replica.on_event(&self.rules, &Event::Due),
            (Step::Publish, Doing::Publish { deadline, action }) => replica.publish(deadline, action),
            (Step::Write, Doing::Answered(answer)) => replica.write(answer)?,
            (Step::Receive, Doing::Answered(answer) | Doing::Written(answer)) => self.receive(replica, answer)?,
            (Step::Fail, Doing::Sent(_) | Doing::Answered(_) | Doing::Written(Answer::Snapshot(_))) => {
                replica.names_key &= self.rules.has(Flaw::ConfirmBeforeApply);
                replica.on_event(&self.rules, &Event::Failed);
            }
            (Step::Leave, Doing::Rest) => {
                replica.deadline = Boottime(0);
                replica.doing = Doing::Leaving;
            }
            (Step::WriteLate, _) if self.rules.has(Flaw::ConfirmBeforeApply) && replica.names_key => {
                (replica.is_active, replica.names_key) = (false, false);
            }
            _ => return None,
        }
        Some(())
    }

    /// Passes an answer to the lease.
    fn receive(&self, replica: &mut Replica, answer: Answer) -> Option<()> {
        match answer {
            Answer::Joined(id) => {
                replica.me = Some(id);
                replica.on_event(&self.rules, &Event::Joined);
            }
            Answer::Feed { from, log, is_cut } => {
                let feed = self.feed(from, log, is_cut);
                let is_pending = replica.names_key && self.rules.has(Flaw::ConfirmBeforeApply);
                replica.on_event(&self.rules, &Event::Read(&feed));
                let names_key = feed.events.iter().any(|event| event.key_id.is_some());
                replica.names_key = is_pending || names_key && replica.doing == Doing::Sent(Action::Apply);
            }
            Answer::Confirmed { is_registered } => {
                let is_registered = is_registered || self.rules.has(Flaw::MissedUpdateIgnored);
                replica.on_event(&self.rules, &Event::Confirmed { is_registered });
            }
            Answer::Snapshot(log) if replica.doing == Doing::Written(answer) => {
                replica.on_event(&self.rules, &Event::Loaded(head(log.last())));
            }
            Answer::Rows { .. } if replica.doing == Doing::Written(answer) => {
                replica.on_event(&self.rules, &Event::Applied);
            }
            Answer::Rows { .. } if self.rules.has(Flaw::ConfirmBeforeApply) => {
                replica.on_event(&self.rules, &Event::Applied);
            }
            Answer::Snapshot(_) | Answer::Rows { .. } => return None,
        }
        Some(())
    }

    /// The log from a revision on, as the database returns it.
    fn feed(&self, from: Revision, log: Log, is_cut: bool) -> Feed {
        let event = |revision, key_id| FeedEvent {
            revision,
            hash: head(revision).hash,
            account: self.account.clone(),
            key_id,
            accepts_restore: false,
            key_set: None,
            records_use: false,
            time: key_authority_domain::time::Timestamp::MIN,
        };
        let first = event(Log::FIRST, None);
        let revocation = log.revocation.map(|entry| event(entry.revision, Some(self.key.clone())));
        let other = log.other.map(|entry| event(entry.revision, None));
        let mut events: Vec<_> = [Some(first), revocation, other].into_iter().flatten().collect();
        events.retain(|event| event.revision >= from);
        events.sort_by_key(|event| event.revision);
        if is_cut {
            events.truncate(2);
        }
        Feed { head: head(log.last()), now: Timestamp::from_micros(0), events }
    }
}

fn head(revision: Revision) -> Head {
    Head { revision, hash: ChainHash([u8::try_from(revision.0).unwrap_or(u8::MAX); 32]) }
}

impl Seat {
    fn update(&mut self, applied: Revision) -> bool {
        let Some(row) = &mut self.row else { return false };
        (row.applied, row.nonce) = (applied, FRESH);
        true
    }

    /// The database executes the replica's statement.
    fn execute(&mut self, log: Log, is_cut: bool) -> Option<()> {
        let replica = self.replica.as_ref()?;
        let answer = match replica.doing {
            Doing::Sent(Action::Join) => {
                self.row = Some(Row { id: FRESH, nonce: FRESH, applied: Revision(-1) });
                self.stray = None;
                Answer::Joined(FRESH)
            }
            Doing::Sent(Action::Load) => Answer::Snapshot(log),
            Doing::Sent(Action::Read(from)) => Answer::Feed { from, log, is_cut },
            Doing::Sent(Action::Apply) => {
                Answer::Rows { is_active: replica.names_key.then_some(log.revocation.is_none()) }
            }
            Doing::Sent(Action::Confirm(head)) => Answer::Confirmed { is_registered: self.update(head.revision) },
            _ => return None,
        };
        self.replica.as_mut()?.doing = Doing::Answered(answer);
        Some(())
    }

    /// Reads the log from the applied revision on, if it is longer than the two events of one read.
    fn execute_cut(&mut self, log: Log) -> Option<()> {
        let Doing::Sent(Action::Read(from)) = self.replica.as_ref()?.doing else { return None };
        if log.last().0 - from.0 < 2 {
            return None;
        }
        self.execute(log, true)
    }
}

impl Replica {
    fn new(rules: &Rules) -> Self {
        Self {
            lease: Lease::new(rules.terms()),
            doing: Doing::Rest,
            me: None,
            deadline: Boottime(0),
            applied: Revision(-1),
            is_active: false,
            names_key: false,
            verify: Verify::Idle,
        }
    }

    /// Passes an event to the lease. Its action is executed after its state is published.
    fn on_event(&mut self, rules: &Rules, event: &Event<'_>) {
        let action = self.lease.on(event, NOW);
        self.lease = self.lease.aged(Duration::ZERO, NOW);
        let mut deadline = self.lease.deadline();
        if rules.has(Flaw::LeaseFromReply) && deadline != Boottime(0) {
            let is_confirmed = matches!(event, Event::Confirmed { is_registered: true });
            deadline = if is_confirmed { NOW.after(rules.terms().trust) } else { self.deadline };
        }
        if self.deadline == deadline && self.applied == self.lease.applied().revision {
            self.publish(deadline, action);
        } else {
            self.doing = Doing::Publish { deadline, action };
        }
    }

    fn publish(&mut self, deadline: Boottime, action: Action) {
        (self.deadline, self.applied) = (deadline, self.lease.applied().revision);
        self.doing = if action == Action::Rest { Doing::Rest } else { Doing::Sent(action) };
    }

    /// Writes the rows to the index.
    fn write(&mut self, answer: Answer) -> Option<()> {
        match answer {
            Answer::Snapshot(log) => self.is_active = log.revocation.is_none(),
            Answer::Rows { is_active } => self.is_active = is_active.unwrap_or(self.is_active),
            Answer::Joined(_) | Answer::Feed { .. } | Answer::Confirmed { .. } => return None,
        }
        self.names_key = false;
        self.doing = Doing::Written(answer);
        Some(())
    }

    /// The steps of a Verify of the key: read the deadline, the clock and the index, then answer.
    fn verify(&mut self, step: Step, is_returned: bool, needs_no_lease: bool) -> Option<()> {
        self.verify = match (step, self.verify) {
            (Step::LoadDeadline, Verify::Idle) => Verify::Loaded { deadline: self.deadline, is_late: is_returned },
            (Step::ReadClock, Verify::Loaded { deadline, is_late }) => {
                let is_permitted = needs_no_lease || may_answer(deadline, NOW);
                if is_permitted { Verify::Permitted { is_late } } else { Verify::Idle }
            }
            (Step::ReadIndex, Verify::Permitted { is_late }) => {
                if self.is_active {
                    Verify::Accepted { is_late }
                } else {
                    Verify::Idle
                }
            }
            (Step::Answer, Verify::Accepted { .. }) => Verify::Idle,
            _ => return None,
        };
        Some(())
    }
}
