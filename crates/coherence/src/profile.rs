//! How rough a run is: which faults it has and how much of each, drawn from the seed. Every run lacks some faults, so that
//! those it has are not drowned by the others.

use crate::chance::{Chance, Ppm};
use crate::scheduler::{MICROSECOND, MILLISECOND, SECOND, Time};
use crate::variant::Variant;

/// The rates of the two clocks that are furthest apart: they differ by less than a quarter.
const SLOWEST: u64 = 890_000;
const FASTEST: u64 = 1_110_000;

/// How the clocks of a run go, in nanoseconds for a million true ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) slowest: u64,
    pub(crate) fastest: u64,
    /// How likely a rate is the slowest or the fastest.
    pub(crate) extreme: Ppm,
    /// Whether a clock keeps its rate.
    pub(crate) is_steady: bool,
}

/// What a run is like.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) replicas: usize,
    pub(crate) clients: usize,
    /// How many of a million changes revoke a key.
    pub(crate) revocations: Ppm,
    /// The longest pause of a client between two changes.
    pub(crate) think: Time,
    /// The longest deadline of a client.
    pub(crate) patience: Time,
    /// The longest time between two Verifies.
    pub(crate) verify: Time,
    pub(crate) rates: Rates,
    pub(crate) poll: Time,
    /// The longest time between two readings of the registry while a change waits.
    pub(crate) scan: Time,
    /// Most events that one reading of the log returns.
    pub(crate) feed_limit: usize,
    pub(crate) statement_timeout: Time,
    /// How likely a replica does not hear of a commit.
    pub(crate) unheard: Ppm,
    /// The longest ordinary time from a replica to the database.
    pub(crate) way: Time,
    /// How many replicas are not frail.
    pub(crate) strong: usize,
    /// How likely something that is late is late by about a lease.
    pub(crate) very_late: Ppm,
    pub(crate) slow: Ppm,
    pub(crate) lost: Ppm,
    /// How likely the removal of a silent row is slow: in between, the row may come to life.
    pub(crate) late_fence: Ppm,
    /// How likely a reading of the registry is slow.
    pub(crate) late_scan: Ppm,
    /// How likely a process is paused between two steps.
    pub(crate) paused_at_step: Ppm,
    /// How likely a thread is held up between two steps.
    pub(crate) stalled: Ppm,
    /// How often a fault comes on average; 0 is never.
    pub(crate) pauses: Time,
    pub(crate) kills: Time,
    pub(crate) leaves: Time,
    pub(crate) cuts: Time,
    pub(crate) outages: Time,
    pub(crate) freezes: Time,
    pub(crate) read_only: Time,
    /// By how much the copies of the log lag; only a naive variant reads them.
    pub(crate) lag: Time,
}

impl Profile {
    /// Draws a profile. Half of them are mixed at random; the others look into a corner that a mixture seldom reaches.
    pub(crate) fn draw(chance: &Chance, variant: Option<Variant>) -> Self {
        let mut profile = Self::mixed(chance, variant);
        match Corner::of(variant).unwrap_or(chance.one_of(&[
            Corner::None,
            Corner::None,
            Corner::Late,
            Corner::Restless,
        ])) {
            // In the corners everything is written.
            Corner::None => profile.read_only = chance.one_of(&[0, 0, 5 * SECOND, 15 * SECOND, 40 * SECOND]),
            Corner::Late => profile.make_late(chance),
            Corner::Restless => profile.make_restless(chance),
        }
        profile
    }

    /// Everybody is there, but some are late by about a lease, and clocks are as far apart as they may be.
    fn make_late(&mut self, chance: &Chance) {
        self.replicas = chance.one_of(&[2, 3, 4]);
        self.patience = 40 * SECOND;
        self.revocations = 1_000_000;
        self.rates = Rates { slowest: SLOWEST, fastest: FASTEST, extreme: 1_000_000, is_steady: true };
        // Each change of which they hear makes everybody send a heartbeat, and right after one nobody is in danger.
        self.think = chance.one_of(&[300 * MILLISECOND, 2 * SECOND, 5 * SECOND]);
        self.unheard = chance.one_of(&[0, 1_000_000]);
        self.poll = chance.one_of(&[100 * MILLISECOND, 900 * MILLISECOND]);
        self.strong = 1;
        self.statement_timeout = chance.one_of(&[5 * SECOND, 12 * SECOND]);
        self.slow = chance.one_of(&[10_000, 40_000]);
        self.lost = chance.one_of(&[0, 2_000, 20_000]);
        self.stalled = chance.one_of(&[3_000, 10_000, 30_000]);
        self.very_late = 700_000;
        self.late_fence = chance.one_of(&[0, 300_000]);
        self.late_scan = chance.one_of(&[0, 0, 100_000]);
        (self.kills, self.leaves, self.outages, self.freezes) = (0, 0, 0, 0);
    }

    /// Replicas come and go, and are slow when they come.
    fn make_restless(&mut self, chance: &Chance) {
        self.replicas = chance.one_of(&[2, 3, 4]);
        self.leaves = chance.one_of(&[500 * MILLISECOND, 2 * SECOND]);
        self.think = 300 * MILLISECOND;
        self.stalled = chance.one_of(&[10_000, 60_000]);
        // A row that nobody looks after makes every change wait, and while it waits nothing goes wrong.
        (self.kills, self.lost, self.cuts) = (0, 0, 0);
        (self.outages, self.freezes, self.pauses) = (0, 0, 0);
    }

    fn mixed(chance: &Chance, variant: Option<Variant>) -> Self {
        let often = |most: Time| chance.one_of(&[0, 0, most, 3 * most, 8 * most]);
        Self {
            replicas: chance.one_of(&[1, 2, 2, 3, 3, 3, 4, 5]),
            clients: chance.one_of(&[1, 2, 3, 5]),
            revocations: chance.one_of(&[300_000, 700_000, 1_000_000]),
            think: chance.one_of(&[50 * MILLISECOND, 300 * MILLISECOND, 2 * SECOND]),
            patience: chance.one_of(&[400 * MILLISECOND, 3 * SECOND, 15 * SECOND, 40 * SECOND]),
            verify: chance.one_of(&[30 * MILLISECOND, 100 * MILLISECOND, 200 * MILLISECOND]),
            rates: rates(chance, variant),
            poll: chance.one_of(&[100 * MILLISECOND, 300 * MILLISECOND, 600 * MILLISECOND, 900 * MILLISECOND]),
            scan: chance.one_of(&[20 * MILLISECOND, 100 * MILLISECOND, 400 * MILLISECOND]),
            feed_limit: chance.one_of(&[2, 3, 1_000]),
            statement_timeout: chance.one_of(&[5 * SECOND, 5 * SECOND, SECOND, 12 * SECOND]),
            unheard: chance.one_of(&[0, 300_000, 1_000_000]),
            way: chance.one_of(&[100 * MICROSECOND, MILLISECOND, 8 * MILLISECOND, 60 * MILLISECOND]),
            strong: chance.one_of(&[0, 1, 1, 2]),
            very_late: 200_000,
            slow: chance.one_of(&[0, 0, 3_000, 20_000, 100_000]),
            lost: chance.one_of(&[0, 0, 2_000, 15_000, 60_000]),
            late_fence: chance.one_of(&[0, 50_000]),
            late_scan: chance.one_of(&[0, 2_000]),
            paused_at_step: chance.one_of(&[0, 0, 200, 1_000, 5_000]),
            stalled: chance.one_of(&[0, 0, 1_000, 8_000, 40_000]),
            pauses: often(3 * SECOND),
            kills: often(3 * SECOND),
            leaves: often(3 * SECOND),
            cuts: often(3 * SECOND),
            outages: often(5 * SECOND),
            freezes: often(5 * SECOND),
            read_only: 0,
            lag: if variant == Some(Variant::FollowerRead) { chance.of_any_scale(24, 35) } else { 0 },
        }
    }
}

/// What a run looks into.
#[derive(Debug, Clone, Copy, Default)]
enum Corner {
    #[default]
    None,
    Late,
    Restless,
}

impl Corner {
    /// The corner in which a naive variant fails, if it hardly does elsewhere.
    fn of(variant: Option<Variant>) -> Option<Self> {
        match variant? {
            Variant::NoFence
            | Variant::LeaseFromReply
            | Variant::CleanupWithoutCompare
            | Variant::SilentFromSending
            | Variant::UnboundedFence => Some(Self::Late),
            Variant::JoiningNotCounted => Some(Self::Restless),
            _ => None,
        }
    }
}

fn rates(chance: &Chance, variant: Option<Variant>) -> Rates {
    let (slowest, fastest) = if variant == Some(Variant::WildClocks) {
        (700_000, 1_300_000)
    } else {
        chance.one_of(&[(SLOWEST, FASTEST), (SLOWEST, FASTEST), (999_900, 1_000_100), (1_000_000, 1_000_000)])
    };
    Rates { slowest, fastest, extreme: chance.one_of(&[0, 500_000, 1_000_000]), is_steady: chance.happens(500_000) }
}
