//! The fault profile of a run: which faults it has and how often, drawn from the seed. Every run lacks some faults, so
//! that frequent faults do not mask rare ones.

use crate::rng::{Ppm, SharedRng};
use crate::scheduler::{MICROSECOND, MILLISECOND, SECOND, Time};
use crate::variant::Variant;

/// The extreme clock rates. They differ by less than a quarter, as the protocol requires.
const SLOWEST: u64 = 890_000;
const FASTEST: u64 = 1_110_000;

/// The clock rates of a run, in nanoseconds per million nanoseconds of true time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) slowest: u64,
    pub(crate) fastest: u64,
    /// The probability that a rate is the slowest or the fastest.
    pub(crate) extreme: Ppm,
    /// Whether a clock keeps its rate for the whole run.
    pub(crate) is_steady: bool,
}

/// The parameters of a run.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) replicas: usize,
    pub(crate) clients: usize,
    /// The fraction of changes that revoke a key.
    pub(crate) revocations: Ppm,
    /// The longest pause of a client between two changes.
    pub(crate) think: Time,
    /// The longest deadline of a client.
    pub(crate) patience: Time,
    /// The longest time between two Verifies.
    pub(crate) verify: Time,
    pub(crate) rates: Rates,
    pub(crate) poll: Time,
    /// The longest time between two reads of the registry while a change waits.
    pub(crate) scan: Time,
    /// The maximum number of events in one read of the log.
    pub(crate) feed_limit: usize,
    pub(crate) statement_timeout: Time,
    /// The probability that the notification of a commit is lost.
    pub(crate) notify_lost: Ppm,
    /// The longest ordinary delay between a replica and the database.
    pub(crate) transit: Time,
    /// The number of replicas that are not frail.
    pub(crate) strong: usize,
    /// The probability that a delay is about as long as a lease.
    pub(crate) very_late: Ppm,
    /// The probability that a message is slow.
    pub(crate) slow: Ppm,
    /// The probability that a message is lost.
    pub(crate) lost: Ppm,
    /// The probability that the removal of a silent row is slow, so that its replica may confirm again first.
    pub(crate) late_fence: Ppm,
    /// The probability that a read of the registry is slow.
    pub(crate) late_scan: Ppm,
    /// The probability of a pause of the process between two steps.
    pub(crate) paused_at_step: Ppm,
    /// The probability of a delay of one task between two steps.
    pub(crate) stalled: Ppm,
    /// The mean time between faults of each kind; 0 means never.
    pub(crate) pauses: Time,
    pub(crate) kills: Time,
    pub(crate) leaves: Time,
    pub(crate) cuts: Time,
    pub(crate) outages: Time,
    pub(crate) freezes: Time,
    pub(crate) read_only: Time,
    /// The lag of the followers of the database; only an unsafe variant reads from them.
    pub(crate) lag: Time,
}

impl Profile {
    /// Draws a profile. Half of the profiles are random mixtures; the others explore a corner that mixtures seldom
    /// reach.
    pub(crate) fn draw(rng: &SharedRng, variant: Option<Variant>) -> Self {
        let mut profile = Self::mixed(rng, variant);
        match Corner::of(variant).unwrap_or(rng.one_of(&[Corner::None, Corner::None, Corner::Late, Corner::Restless])) {
            // In the corners the database is always writable.
            Corner::None => profile.read_only = rng.one_of(&[0, 0, 5 * SECOND, 15 * SECOND, 40 * SECOND]),
            Corner::Late => profile.make_late(rng),
            Corner::Restless => profile.make_restless(rng),
        }
        profile
    }

    /// No replica is down, but some are late by about a lease, and the clock rates are at their limits.
    fn make_late(&mut self, rng: &SharedRng) {
        self.replicas = rng.one_of(&[2, 3, 4]);
        self.patience = 40 * SECOND;
        self.revocations = 1_000_000;
        self.rates = Rates { slowest: SLOWEST, fastest: FASTEST, extreme: 1_000_000, is_steady: true };
        // A notification makes every replica send a heartbeat, and right after one no lease is close to its end.
        self.think = rng.one_of(&[300 * MILLISECOND, 2 * SECOND, 5 * SECOND]);
        self.notify_lost = rng.one_of(&[0, 1_000_000]);
        self.poll = rng.one_of(&[100 * MILLISECOND, 900 * MILLISECOND]);
        self.strong = 1;
        self.statement_timeout = rng.one_of(&[5 * SECOND, 12 * SECOND]);
        self.slow = rng.one_of(&[10_000, 40_000]);
        self.lost = rng.one_of(&[0, 2_000, 20_000]);
        self.stalled = rng.one_of(&[3_000, 10_000, 30_000]);
        self.very_late = 700_000;
        self.late_fence = rng.one_of(&[0, 300_000]);
        self.late_scan = rng.one_of(&[0, 0, 100_000]);
        (self.kills, self.leaves, self.outages, self.freezes) = (0, 0, 0, 0);
    }

    /// Replicas leave and join often, and join slowly.
    fn make_restless(&mut self, rng: &SharedRng) {
        self.replicas = rng.one_of(&[2, 3, 4]);
        self.leaves = rng.one_of(&[500 * MILLISECOND, 2 * SECOND]);
        self.think = 300 * MILLISECOND;
        self.stalled = rng.one_of(&[10_000, 60_000]);
        // An abandoned row makes every change wait, and a waiting change cannot violate a promise.
        (self.kills, self.lost, self.cuts) = (0, 0, 0);
        (self.outages, self.freezes, self.pauses) = (0, 0, 0);
    }

    fn mixed(rng: &SharedRng, variant: Option<Variant>) -> Self {
        let often = |most: Time| rng.one_of(&[0, 0, most, 3 * most, 8 * most]);
        Self {
            replicas: rng.one_of(&[1, 2, 2, 3, 3, 3, 4, 5]),
            clients: rng.one_of(&[1, 2, 3, 5]),
            revocations: rng.one_of(&[300_000, 700_000, 1_000_000]),
            think: rng.one_of(&[50 * MILLISECOND, 300 * MILLISECOND, 2 * SECOND]),
            patience: rng.one_of(&[400 * MILLISECOND, 3 * SECOND, 15 * SECOND, 40 * SECOND]),
            verify: rng.one_of(&[30 * MILLISECOND, 100 * MILLISECOND, 200 * MILLISECOND]),
            rates: rates(rng, variant),
            poll: rng.one_of(&[100 * MILLISECOND, 300 * MILLISECOND, 600 * MILLISECOND, 900 * MILLISECOND]),
            scan: rng.one_of(&[20 * MILLISECOND, 100 * MILLISECOND, 400 * MILLISECOND]),
            feed_limit: rng.one_of(&[2, 3, 1_000]),
            statement_timeout: rng.one_of(&[5 * SECOND, 5 * SECOND, SECOND, 12 * SECOND]),
            notify_lost: rng.one_of(&[0, 300_000, 1_000_000]),
            transit: rng.one_of(&[100 * MICROSECOND, MILLISECOND, 8 * MILLISECOND, 60 * MILLISECOND]),
            strong: rng.one_of(&[0, 1, 1, 2]),
            very_late: 200_000,
            slow: rng.one_of(&[0, 0, 3_000, 20_000, 100_000]),
            lost: rng.one_of(&[0, 0, 2_000, 15_000, 60_000]),
            late_fence: rng.one_of(&[0, 50_000]),
            late_scan: rng.one_of(&[0, 2_000]),
            paused_at_step: rng.one_of(&[0, 0, 200, 1_000, 5_000]),
            stalled: rng.one_of(&[0, 0, 1_000, 8_000, 40_000]),
            pauses: often(3 * SECOND),
            kills: often(3 * SECOND),
            leaves: often(3 * SECOND),
            cuts: often(3 * SECOND),
            outages: often(5 * SECOND),
            freezes: often(5 * SECOND),
            read_only: 0,
            lag: if variant == Some(Variant::FollowerRead) { rng.of_any_scale(24, 35) } else { 0 },
        }
    }
}

/// A corner of the parameter space.
#[derive(Debug, Clone, Copy, Default)]
enum Corner {
    #[default]
    None,
    Late,
    Restless,
}

impl Corner {
    /// The corner in which an unsafe variant fails, if it seldom fails elsewhere.
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

fn rates(rng: &SharedRng, variant: Option<Variant>) -> Rates {
    let (slowest, fastest) = if variant == Some(Variant::WildClocks) {
        (700_000, 1_300_000)
    } else {
        rng.one_of(&[(SLOWEST, FASTEST), (SLOWEST, FASTEST), (999_900, 1_000_100), (1_000_000, 1_000_000)])
    };
    Rates { slowest, fastest, extreme: rng.one_of(&[0, 500_000, 1_000_000]), is_steady: rng.happens(500_000) }
}
