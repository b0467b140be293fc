//! The possible next actions: one statement, one memory access, one message received or lost, one tick.

use key_authority_domain::id::Revision;
use key_authority_replica::protocol::lease::Action;

use crate::rules::{Besides, Flaw, Rules};
use crate::world::{Answer, By, Change, Doing, Log, Replica, Seat, Stage, Verify, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    Tick,
    /// Another object is changed.
    WriteOther,
    /// The key is revoked. `here` is the seat of the revoking server, if it is in the model.
    Commit {
        here: Option<usize>,
    },
    Acknowledge,
    LoseServer,
    /// The client repeats its call with the same request ID.
    Repeat {
        here: Option<usize>,
    },
    /// The wait ends by time, without a read of the registry.
    TimeOut,
    Return,
    /// A read of the registry begins.
    Scan(By),
    /// The database reads the rows. A step of its own only if silence counts from sending.
    ReadRegistry,
    /// The rows arrive.
    Receive,
    /// The database removes a row if it is unchanged.
    Fence,
    /// The database is read-only and refuses: the remaining rows stay.
    RefuseFence,
    /// The answers to the removals arrive.
    Fenced,
    LoseScan,
    /// Another server takes over, without observations of the registry.
    Forget,
    Of(usize, Step),
}

/// A step of the replica at a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Start,
    Crash,
    Leave,
    Due,
    Publish,
    /// The database executes the statement.
    Execute,
    /// The same, but the log is longer than one read returns.
    ExecuteCut,
    /// The same, but the log is read up to this revision only.
    ExecuteOld(Revision),
    /// The replica writes the rows to the index.
    Write,
    /// The answer arrives at the lease.
    Receive,
    /// The statement or its answer is lost.
    Fail,
    /// The UPDATE times out, and will arrive later.
    GiveUp,
    StrayArrives,
    /// A revision that was confirmed first is applied.
    WriteLate,
    LoadDeadline,
    ReadClock,
    ReadIndex,
    Answer,
}

/// The candidate actions in this state. Some may turn out to be impossible.
pub(crate) fn all(rules: &Rules, world: &World, moves: &mut Vec<Move>) {
    moves.push(Move::Tick);
    if can_write_other(rules, world) {
        moves.push(Move::WriteOther);
    }
    of_change(world, moves);
    of_registry(world, moves);
    for (place, seat) in world.seats.iter().enumerate() {
        let mut steps = Vec::with_capacity(16);
        of_seat(rules, world, seat, &mut steps);
        moves.extend(steps.into_iter().map(|step| Move::Of(place, step)));
    }
}

fn can_write_other(rules: &Rules, world: &World) -> bool {
    let is_its_time = match rules.besides {
        Besides::ChangeBefore => world.log.revocation.is_none(),
        Besides::ChangeAfter => world.log.revocation.is_some(),
        Besides::ChangeBetween => true,
        Besides::Nothing | Besides::StrayUpdates => false,
    };
    is_its_time && world.log.other.is_none_or(|entry| !entry.is_committed)
}

fn of_change(world: &World, moves: &mut Vec<Move>) {
    let servers = std::iter::once(None).chain((0..world.seats.len()).map(Some));
    match world.change {
        Change::Idle => moves.extend(servers.map(|here| Move::Commit { here })),
        Change::Numbered { here } => moves.push(Move::Commit { here }),
        Change::Committed { .. } => moves.extend([Move::Acknowledge, Move::LoseServer]),
        Change::Waiting(_) => moves.extend([Move::TimeOut, Move::LoseServer]),
        Change::Over { .. } => moves.extend([Move::Return, Move::LoseServer]),
        Change::Lost => moves.extend(servers.map(|here| Move::Repeat { here })),
        Change::Returned => {}
    }
}

fn of_registry(world: &World, moves: &mut Vec<Move>) {
    match world.scan.as_ref().map(|scan| &scan.stage) {
        None => {
            moves.push(Move::Scan(By::Cleaner));
            if let Change::Waiting(_) = world.change {
                moves.push(Move::Scan(By::Revoker));
            }
        }
        Some(Stage::Sent { .. }) => moves.extend([Move::ReadRegistry, Move::LoseScan]),
        Some(Stage::Read { .. }) => moves.extend([Move::Receive, Move::LoseScan]),
        Some(Stage::Fencing { .. }) => {
            moves.extend([Move::Fence, Move::RefuseFence, Move::Fenced, Move::LoseScan]);
        }
    }
    if world.seats.iter().any(|seat| seat.seen.is_some()) {
        moves.push(Move::Forget);
    }
}

fn of_seat(rules: &Rules, world: &World, seat: &Seat, steps: &mut Vec<Step>) {
    if seat.stray.is_some() {
        steps.push(Step::StrayArrives);
    }
    let Some(replica) = &seat.replica else {
        steps.push(Step::Start);
        return;
    };
    steps.push(Step::Crash);
    match replica.doing {
        Doing::Rest => steps.extend([Step::Due, Step::Leave]),
        Doing::Publish { .. } => steps.push(Step::Publish),
        Doing::Sent(action) => {
            steps.extend([Step::Execute, Step::Fail]);
            of_statement(rules, world, replica, action, steps);
        }
        Doing::Answered(Answer::Snapshot(_)) => steps.extend([Step::Write, Step::Fail]),
        Doing::Answered(Answer::Rows { .. }) => {
            steps.extend([Step::Write, Step::Fail]);
            if rules.has(Flaw::ConfirmBeforeApply) {
                steps.push(Step::Receive);
            }
        }
        Doing::Answered(_) | Doing::Written(Answer::Snapshot(_)) => steps.extend([Step::Receive, Step::Fail]),
        Doing::Written(_) => steps.push(Step::Receive),
        Doing::Leaving => steps.push(Step::Execute),
    }
    if rules.has(Flaw::ConfirmBeforeApply) {
        steps.push(Step::WriteLate);
    }
    steps.extend(of_verify(rules, world, replica));
}

fn of_statement(rules: &Rules, world: &World, replica: &Replica, action: Action, steps: &mut Vec<Step>) {
    match action {
        Action::Confirm(_) if rules.besides == Besides::StrayUpdates => steps.push(Step::GiveUp),
        Action::Read(_) => {
            steps.push(Step::ExecuteCut);
            let applied = replica.lease.applied().revision;
            if rules.has(Flaw::ReadFromFollower) {
                steps.extend((Log::FIRST.0..world.log.last().0).map(|revision| Step::ExecuteOld(Revision(revision))));
            } else if rules.has(Flaw::RenewalWithoutReading) {
                steps.push(Step::ExecuteOld(applied));
            }
        }
        _ => {}
    }
}

/// The next step of a Verify. A Verify that starts while the change is in flight may accept or deny and affects nothing
/// else, so only those before and after are modelled. A Verify without a lease always fails.
fn of_verify(rules: &Rules, world: &World, replica: &Replica) -> Option<Step> {
    match replica.verify {
        Verify::Idle => {
            let is_relevant = matches!(world.change, Change::Idle | Change::Returned);
            let is_refused = replica.deadline.0 == 0 && !rules.has(Flaw::NoLease);
            (is_relevant && !is_refused).then_some(Step::LoadDeadline)
        }
        Verify::Loaded { .. } => Some(Step::ReadClock),
        Verify::Permitted { .. } => Some(Step::ReadIndex),
        Verify::Accepted { .. } => Some(Step::Answer),
    }
}
