//! The model: initial state, transitions and properties.

use key_authority_domain::id::{AccountId, KeyId};
use key_authority_replica::protocol::lease::may_answer;
use key_authority_replica::protocol::wait::PropagationState;
use stateright::{Model, Property};

use crate::moves::{self, Move, Step};
use crate::rules::{Flaw, Rules};
use crate::world::{By, Change, Entry, Log, NOW, Replica, Seat, Verify, World};

/// P1: a Verify that starts after the return of the revocation does not accept the key.
pub(crate) const SAFE: &str = "a key whose revocation had returned is not accepted";
/// No replica finds a log that does not continue what it has applied.
pub(crate) const STEADY: &str = "the log never seems to have gone back";
/// Also when all replicas are dead.
pub(crate) const ENDS: &str = "a change returns though no replica takes another step";
/// Also when the database refuses to remove rows, because it is read-only or full.
pub(crate) const ENDS_UNFENCED: &str = "a change returns though no row can be removed";
pub(crate) const RECOVERS: &str = "a replica whose statements succeed has a lease again";
pub(crate) const ACCEPTED: &str = "a key that is not yet revoked is accepted";
pub(crate) const CONFIRMED: &str = "a change is over because every replica has confirmed it";
pub(crate) const FENCED: &str = "a change is over because a silent replica was removed";
pub(crate) const TIMED_OUT: &str = "a change is over because its time has run out";

/// Actions that end a change without the replicas, in an order in which each can have an effect.
const ALONE: [Move; 12] = [
    Move::Acknowledge,
    Move::Repeat { here: None },
    Move::Receive,
    Move::Fence,
    Move::Fenced,
    Move::Scan(By::Cleaner),
    Move::Fence,
    Move::Fenced,
    Move::Scan(By::Revoker),
    Move::Receive,
    Move::Return,
    Move::Tick,
];

/// The steps of a new replica until it has a lease.
const SETTLING: [Step; 13] = [
    Step::Start,
    Step::Due,
    Step::Execute,
    Step::Write,
    Step::Receive,
    Step::Publish,
    Step::Execute,
    Step::Receive,
    Step::Execute,
    Step::Receive,
    Step::Execute,
    Step::Receive,
    Step::Publish,
];

/// The steps that a replica can take by itself, the rarest first.
const DRIVING: [Step; 6] = [Step::Start, Step::Publish, Step::Write, Step::Receive, Step::Execute, Step::Due];

pub(crate) struct Protocol {
    pub(crate) rules: Rules,
    pub(crate) account: AccountId,
    pub(crate) key: KeyId,
}

impl Protocol {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, account: AccountId::new("acme").unwrap(), key: KeyId::new("key_1").unwrap() }
    }

    fn step(&self, world: &mut World, action: Move) -> Option<()> {
        match action {
            Move::Tick => {
                world.tick(&self.rules);
                Some(())
            }
            Move::WriteOther => {
                // A revision from a sequence is drawn first; its change is committed later.
                let is_committed = !self.rules.has(Flaw::RevisionFromSequence) || world.log.other.is_some();
                let revision = world.log.last().next();
                world.log.other.get_or_insert(Entry { revision, is_committed }).is_committed = is_committed;
                Some(())
            }
            Move::Of(place, step) => self.replica_step(world, place, step),
            Move::Scan(_)
            | Move::ReadRegistry
            | Move::Receive
            | Move::Fence
            | Move::RefuseFence
            | Move::Fenced
            | Move::LoseScan => self.scan_step(world, action),
            Move::Forget => {
                world.seats.iter_mut().for_each(|seat| seat.seen = None);
                Some(())
            }
            action => self.change_step(world, action),
        }
    }

    /// Whether the change returns without further steps of replicas and, unless `can_fence`, without removing a row.
    fn returns_alone(&self, world: &World, can_fence: bool) -> bool {
        let mut world = world.clone();
        // A row is observed, silent after the wait, and then removed; or the wait and its grace period end.
        for action in std::iter::repeat_n(ALONE, 3 + usize::try_from(self.rules.wait).unwrap()).flatten() {
            let action = if action == Move::Fence && !can_fence { Move::RefuseFence } else { action };
            if let Some(next) = self.next_state(&world, action) {
                world = next;
            }
            if world.change == Change::Returned {
                return true;
            }
        }
        false
    }
}

impl Protocol {
    /// Whether every replica gets a lease by successful steps of its own.
    fn recovers_alone(&self, world: &World) -> bool {
        let mut world = world.clone();
        let has_lease = |world: &World, place: usize| {
            let replica = world.seats.get(place).and_then(|seat| seat.replica.as_ref());
            replica.is_some_and(|replica| may_answer(replica.deadline, NOW))
        };
        let mut driven = |place| {
            for _ in 0..2 * SETTLING.len() {
                let next = DRIVING.iter().find_map(|step| self.next_state(&world, Move::Of(place, *step)));
                world = next.unwrap_or_else(|| world.clone());
                if has_lease(&world, place) {
                    return true;
                }
            }
            false
        };
        (0..self.rules.seats).all(&mut driven)
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        let seats = vec![Seat::default(); self.rules.seats];
        let mut world = World { log: Log::default(), change: Change::Idle, scan: None, seats };
        if self.rules.is_settled {
            for place in 0..self.rules.seats {
                // Join, load, read the log, confirm.
                for step in SETTLING {
                    world = self.next_state(&world, Move::Of(place, step)).unwrap_or(world);
                }
            }
        }
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Move>) {
        moves::all(&self.rules, world, actions);
    }

    fn next_state(&self, world: &World, action: Move) -> Option<World> {
        let mut next = world.clone();
        self.step(&mut next, action)?;
        next.rename();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let safe = Property::always(SAFE, |_, world| !is_verifying(world, Verify::Accepted { is_late: true }));
        if self.rules.flaw.is_some() {
            return vec![safe];
        }
        vec![
            safe,
            Property::always(STEADY, |_, world| replicas(world).all(|replica| replica.lease.log_divergences() == 0)),
            Property::always(ENDS, |model, world| !is_in_flight(world) || model.returns_alone(world, true)),
            Property::always(ENDS_UNFENCED, |model, world| {
                !model.rules.ends_by_time || !is_in_flight(world) || model.returns_alone(world, false)
            }),
            Property::always(RECOVERS, |model, world| !is_quiet(world) || model.recovers_alone(world)),
            Property::sometimes(ACCEPTED, |_, world| is_verifying(world, Verify::Accepted { is_late: false })),
            Property::sometimes(CONFIRMED, |_, world| is_over(world, PropagationState::Confirmed, false)),
            Property::sometimes(FENCED, |_, world| is_over(world, PropagationState::Confirmed, true)),
            Property::sometimes(TIMED_OUT, |_, world| is_over(world, PropagationState::Lapsed, false)),
        ]
    }
}

fn replicas(world: &World) -> impl Iterator<Item = &Replica> {
    world.seats.iter().flat_map(|seat| &seat.replica)
}

fn is_verifying(world: &World, verify: Verify) -> bool {
    replicas(world).any(|replica| replica.verify == verify)
}

/// Whether the change is committed and has not returned, and no Verify is active, since none affects the change.
fn is_in_flight(world: &World) -> bool {
    !matches!(world.change, Change::Idle | Change::Numbered { .. } | Change::Returned)
        && replicas(world).all(|replica| replica.verify == Verify::Idle)
}

/// Whether the change has returned, with no active read of the registry or Verify, since neither affects heartbeats.
fn is_quiet(world: &World) -> bool {
    world.change == Change::Returned
        && world.scan.is_none()
        && replicas(world).all(|replica| replica.verify == Verify::Idle)
}

fn is_over(world: &World, over: PropagationState, by_fence: bool) -> bool {
    matches!(world.change, Change::Over { state, was_fenced, .. } if state == over && was_fenced == by_fence)
}
