//! One run, from its seed to its outcome.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use key_authority_replica::protocol::timings::LeaseTimings;

use crate::check::{Check, Kind, Violation};
use crate::clock::Clock;
use crate::database::{Database, Setup};
use crate::network::Session;
use crate::process::Host;
use crate::profile::Profile;
use crate::rng::SharedRng;
use crate::scheduler::{SECOND, Scheduler, Time, advance};
use crate::statement::{Key, RequestId};
use crate::statistics::Statistics;
use crate::variant::Variant;
use crate::{client, epilogue, nemesis};

/// The length of the fault phase.
pub(crate) const FAULT_PHASE: Time = 40 * SECOND;
/// A run that is not over at this time does not end.
const END: Time = 100 * SECOND;
const LEASE: Duration = Duration::from_secs(10);

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The seed, which reproduces the run.
    pub seed: u64,
    /// A hash of the run's events, to compare runs.
    pub hash: u64,
    /// The violation, if there is one.
    pub violation: Option<Violation>,
    /// The counts of the run.
    pub statistics: Statistics,
    /// The events as text, if the run is traced.
    pub trace: Vec<String>,
}

/// The state of a run.
pub(crate) struct World {
    pub(crate) scheduler: Scheduler,
    pub(crate) rng: SharedRng,
    pub(crate) profile: Profile,
    pub(crate) variant: Option<Variant>,
    pub(crate) terms: LeaseTimings,
    pub(crate) hosts: Vec<Rc<Host>>,
    pub(crate) database: RefCell<Database>,
    /// The number of restarts of the database.
    pub(crate) epoch: Cell<u64>,
    pub(crate) down_until: Cell<Time>,
    pub(crate) frozen_until: Cell<Time>,
    /// Until when the database is read-only.
    pub(crate) read_only_until: Cell<Time>,
    pub(crate) keys_used: Cell<Key>,
    pub(crate) is_over: Cell<bool>,
    pub(crate) check: Check,
    pub(crate) statistics: RefCell<Statistics>,
    names: Cell<u64>,
    trace: Option<RefCell<Vec<String>>>,
}

impl World {
    fn new(seed: u64, variant: Option<Variant>, is_traced: bool) -> Option<Self> {
        let rng = SharedRng::new(seed);
        let profile = Profile::draw(&rng, variant);
        let host = |number| {
            let is_frail = number >= profile.strong;
            let clock = Clock::draw(&rng, profile.rates, is_frail, END);
            Rc::new(Host::new(number, clock, profile.lag, is_frail))
        };
        let hosts = (0..profile.replicas).map(host).collect();
        let setup = Setup { is_sequence: variant == Some(Variant::Sequence) };
        Some(Self {
            scheduler: Scheduler::default(),
            variant,
            terms: LeaseTimings::new(LEASE),
            hosts,
            database: RefCell::new(Database::new(setup)?),
            epoch: Cell::new(0),
            down_until: Cell::new(0),
            frozen_until: Cell::new(0),
            read_only_until: Cell::new(0),
            keys_used: Cell::new(0),
            is_over: Cell::new(false),
            check: Check::new(variant),
            statistics: RefCell::default(),
            names: Cell::new(1),
            trace: is_traced.then(RefCell::default),
            rng,
            profile,
        })
    }

    /// Adds an event to the trace, if the run is traced.
    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let now = self.now();
            trace.borrow_mut().push(format!("{:>3}.{:09} {}", now / SECOND, now % SECOND, what()));
        }
    }

    fn new_name(&self) -> u64 {
        self.names.replace(self.names.get() + 1)
    }

    pub(crate) fn new_session(&self) -> Session {
        Session(self.new_name())
    }

    pub(crate) fn new_request(&self) -> RequestId {
        self.new_name()
    }
}

/// Simulates a seed, with the protocol or an unsafe variant of it.
#[must_use]
pub fn run(seed: u64, variant: Option<Variant>, is_traced: bool) -> Outcome {
    let statistics = Statistics { runs: 1, ..Statistics::default() };
    let Some(world) = World::new(seed, variant, is_traced).map(Rc::new) else {
        return Outcome { seed, hash: 0, violation: None, statistics, trace: Vec::new() };
    };
    *world.statistics.borrow_mut() = statistics;
    world.note(|| format!("seed {seed}: {:?}", world.profile));
    for host in &world.hosts {
        host.start(&world);
    }
    for _ in 0..world.profile.clients {
        world.scheduler.spawn(None, client::change(Rc::clone(&world)));
    }
    world.scheduler.spawn(None, client::verify(Rc::clone(&world)));
    world.scheduler.spawn(None, epilogue::run(Rc::clone(&world)));
    nemesis::start(&world);
    while !world.is_over.get() && !world.check.is_violated() && advance(&world) {
        if world.now() > END {
            world.check.fail(Kind::NotRecovered, || "the run does not end".to_owned());
            break;
        }
    }
    let violation = world.check.violation();
    if let Some(violation) = &violation {
        world.note(|| format!("VIOLATION {violation}"));
    }
    // Break the reference cycle between world and tasks.
    world.scheduler.clear();
    for host in &world.hosts {
        host.forget();
    }
    let mut statistics = *world.statistics.borrow();
    statistics.events = world.scheduler.events();
    let trace = world.trace.as_ref().map(RefCell::take).unwrap_or_default();
    Outcome { seed, hash: world.scheduler.hash(), violation, statistics, trace }
}
