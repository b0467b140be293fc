//! What can happen next: one statement, one access to memory, one message received or lost, one tick.

use key_authority_domain::id::Revision;
use key_authority_replica::protocol::lease::Action;

use crate::rules::{Besides, Flaw, Rules};
use crate::world::{Answer, By, Change, Doing, Log, Replica, Seat, Stage, Verify, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    Tick,
    /// Something else is changed.
    WriteOther,
    /// The key is revoked. `here` is the seat of the server that does it, if it is one of the model's.
    Commit {
        here: Option<usize>,
    },
    Acknowledge,
    LoseServer,
    /// The client repeats its call, with the same name for the request.
    Repeat {
        here: Option<usize>,
    },
    /// The registry could not be read.
    TimeOut,
    Return,
    /// Somebody begins to read the registry.
    Scan(By),
    /// The database reads the rows that were asked for. Only when asking is a step of its own.
    ReadRegistry,
    /// The rows arrive.
    Receive,
    /// The database removes a row, if it is as it was.
    Fence,
    /// It cannot write, and refuses to: the rows that are left stay.
    RefuseFence,
    /// The answers to that arrive.
    Fenced,
    LoseScan,
    /// Another takes over who has seen nothing of the registry.
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
    /// The database does what it was asked for.
    Execute,
    /// The same, but the log is longer than one reading.
    ExecuteCut,
    /// The same, but the log is read up to there only.
    ExecuteOld(Revision),
    /// What was read is written to the index.
    Write,
    /// The answer arrives, and the lease is told.
    Receive,
    /// What was asked for, or the answer to it, is lost.
    Fail,
    /// The UPDATE is given up, and will arrive later.
    GiveUp,
    StrayArrives,
    /// What was confirmed before it was applied is applied.
    WriteLate,
    LoadDeadline,
    AskClock,
    ReadIndex,
    Answer,
}

/// What can happen in this state. Not all of it need be possible.
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
        Doing::Asked(action) => {
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

/// The next step of a Verify. One that is invoked while the change is on its way may decide either way, and does nothing
/// to anybody else: only those before and after are followed. And one without a lease is refused whatever happens.
fn of_verify(rules: &Rules, world: &World, replica: &Replica) -> Option<Step> {
    match replica.verify {
        Verify::Idle => {
            let is_of_interest = matches!(world.change, Change::Idle | Change::Returned);
            let is_refused = replica.deadline.0 == 0 && !rules.has(Flaw::NoLease);
            (is_of_interest && !is_refused).then_some(Step::LoadDeadline)
        }
        Verify::Loaded { .. } => Some(Step::AskClock),
        Verify::Permitted { .. } => Some(Step::ReadIndex),
        Verify::Accepted { .. } => Some(Step::Answer),
    }
}
