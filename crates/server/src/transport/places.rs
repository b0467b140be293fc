//! Places for connections: how many a listener has open, in all and from one address.
//!
//! A connection begins as a stranger's, and becomes a known caller's with the first call that authenticates. Strangers
//! have few places. When those are taken, the oldest stranger makes room for a new one: a caller authenticates within
//! its first round trip, so that it does not lose its place to a flood of idle connections. Known callers have places
//! of their own, which strangers cannot take. When the key of a known caller ends, its connection is a stranger's
//! again.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use key_authority_domain::id::Actor;
use tokio_util::sync::CancellationToken;

/// The numbers of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaceLimits {
    /// The maximum number of open connections.
    pub total: usize,
    /// The maximum number of open connections from one address.
    pub per_address: usize,
    /// The maximum number of open connections of one known caller. Further ones stay strangers'.
    pub per_caller: usize,
    /// The maximum number of strangers' connections.
    pub strangers: usize,
    /// The maximum number of strangers' connections from one address.
    pub strangers_per_address: usize,
}

/// The places of one listener. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: PlaceLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_number: u64,
    known: usize,
    strangers: usize,
    by_address: HashMap<IpAddr, Occupants>,
    /// The numbers of connections of known callers, but for those with a client certificate alone; none is zero.
    by_caller: HashMap<Actor, usize>,
}

/// The connections from one address.
#[derive(Debug, Default)]
struct Occupants {
    known: BTreeMap<u64, Known>,
    /// The oldest first. The token asks the connection to leave.
    strangers: BTreeMap<u64, CancellationToken>,
}

/// The connection of a known caller.
struct Known {
    caller: Option<Actor>,
    evicted: CancellationToken,
    /// The flag of the place.
    flag: Arc<AtomicBool>,
    has_ended: Box<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Known {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Known").finish_non_exhaustive()
    }
}

impl Occupants {
    fn len(&self) -> usize {
        self.known.len() + self.strangers.len()
    }

    /// Makes strangers of the known callers whose keys have ended. Returns these callers.
    fn demote_ended(&mut self) -> Vec<Option<Actor>> {
        let ended: Vec<u64> =
            self.known.iter().filter(|(_, known)| (known.has_ended)()).map(|(number, _)| *number).collect();
        let mut callers = Vec::new();
        for number in ended {
            if let Some(known) = self.known.remove(&number) {
                known.flag.store(false, Ordering::Relaxed);
                self.strangers.insert(number, known.evicted);
                callers.push(known.caller);
            }
        }
        callers
    }
}

impl Places {
    pub(crate) fn new(limits: PlaceLimits) -> Self {
        Self(Arc::new(Shared { limits, state: Mutex::default() }))
    }

    /// Takes a place for a new connection from `address`. Strangers that have to make room are asked to leave, and do
    /// not count from now on.
    ///
    /// Returns `None` if known callers have all places, in all or of this address.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Place> {
        let (limits, address) = (self.0.limits, network(address));
        let mut state = self.0.lock();
        let from_here = state.by_address.get(&address).map_or((0, 0), |here| (here.strangers.len(), here.len()));
        if (from_here.0 >= limits.strangers_per_address || from_here.1 >= limits.per_address)
            && !state.evict_oldest_of(address)
        {
            return None;
        }
        let is_full = state.strangers >= limits.strangers || state.known + state.strangers >= limits.total;
        if is_full && !state.evict_from_largest() {
            return None;
        }
        let number = state.next_number;
        state.next_number += 1;
        state.strangers += 1;
        let evicted = CancellationToken::new();
        state.by_address.entry(address).or_default().strangers.insert(number, evicted.clone());
        Some(Place {
            shared: Arc::clone(&self.0),
            address,
            number,
            evicted,
            is_known: Arc::default(),
            is_refused: AtomicBool::default(),
            refusals: AtomicU32::default(),
            stranger_calls: Counter::default(),
            reflections: Counter::default(),
            watches: Counter::default(),
        })
    }

    /// Makes the connections of callers whose keys have ended strangers' again. Of those, the oldest are asked to leave
    /// if there are more strangers now than there may be.
    pub(crate) fn demote_ended(&self) {
        let limits = self.0.limits;
        let mut state = self.0.lock();
        let mut crowded = Vec::new();
        let mut demoted = Vec::new();
        for (address, here) in &mut state.by_address {
            demoted.extend(here.demote_ended());
            let surplus = here.strangers.len().saturating_sub(limits.strangers_per_address);
            crowded.extend(std::iter::repeat_n(*address, surplus));
        }
        state.strangers += demoted.len();
        for caller in demoted {
            state.remove_known(caller);
        }
        for address in crowded {
            state.evict_oldest_of(address);
        }
        while state.strangers > limits.strangers && state.evict_from_largest() {}
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Asks the oldest stranger from `address` to leave. Returns whether there is one.
    fn evict_oldest_of(&mut self, address: IpAddr) -> bool {
        let oldest = self.by_address.get_mut(&address).and_then(|here| here.strangers.pop_first());
        let Some((_, token)) = oldest else { return false };
        token.cancel();
        self.strangers -= 1;
        self.forget_if_empty(address);
        true
    }

    /// Asks the oldest stranger of the address with the most strangers to leave; of several such addresses, the oldest
    /// of all. It is found by a search, which only a full listener pays.
    fn evict_from_largest(&mut self) -> bool {
        let rank = |here: &Occupants| {
            (here.strangers.len(), here.strangers.first_key_value().map(|(number, _)| Reverse(*number)))
        };
        let largest = self.by_address.iter().max_by_key(|(_, here)| rank(here)).map(|(address, _)| *address);
        largest.is_some_and(|address| self.evict_oldest_of(address))
    }

    /// Counts a connection of a known caller out.
    fn remove_known(&mut self, caller: Option<Actor>) {
        self.known -= 1;
        let Some(Entry::Occupied(mut count)) = caller.map(|caller| self.by_caller.entry(caller)) else { return };
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }

    fn forget_if_empty(&mut self, address: IpAddr) {
        if self.by_address.get(&address).is_some_and(|here| here.len() == 0) {
            self.by_address.remove(&address);
        }
    }
}

/// The network that counts as one address: a host has a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub struct Place {
    shared: Arc<Shared>,
    address: IpAddr,
    number: u64,
    evicted: CancellationToken,
    is_known: Arc<AtomicBool>,
    /// Whether the caller had its share of the places, and the number of calls since then.
    is_refused: AtomicBool,
    refusals: AtomicU32,
    stranger_calls: Counter,
    reflections: Counter,
    watches: Counter,
}

/// Of the calls of a caller that has its share of the places, one in so many tries to get one.
const RETRY: u32 = 64;
/// The maximum number of calls in progress on a stranger's connection. Each can hold headers of 16 KiB.
pub(crate) const STRANGER_CALLS_MAX: usize = 100;
/// The maximum number of calls of reflection in progress on one connection. Each can hold two responses of 64 KiB.
pub(crate) const REFLECTIONS_MAX: usize = 4;
/// The maximum number of open health watches on one connection. Clients need one for each service name.
const WATCHES_MAX: usize = 8;

impl Place {
    /// Whether a call on this connection was authenticated, by a key that has not ended.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// Whether an authenticated call may make this the place of a known caller. If its caller has its share of the
    /// places, only some calls try again: each takes the lock of the listener.
    pub fn may_promote(&self) -> bool {
        if self.is_known() {
            return false;
        }
        !self.is_refused.load(Ordering::Relaxed) || self.refusals.fetch_add(1, Ordering::Relaxed).is_multiple_of(RETRY)
    }

    /// Makes this the place of a known caller, until `has_ended` returns true; without a caller, of a peer with a
    /// client certificate. A connection that was asked to leave before still leaves, and stays a stranger's. So does
    /// one of a caller that has its share of the places.
    pub fn promote(&self, caller: Option<Actor>, has_ended: impl Fn() -> bool + Send + Sync + 'static) {
        if self.is_known() {
            return;
        }
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        let open = caller.as_ref().and_then(|caller| state.by_caller.get(caller)).copied().unwrap_or_default();
        let Some(here) = state.by_address.get_mut(&self.address) else { return };
        let is_full = open >= self.shared.limits.per_caller;
        self.is_refused.store(is_full, Ordering::Relaxed);
        if is_full {
            return;
        }
        if let Some(evicted) = here.strangers.remove(&self.number) {
            let flag = Arc::clone(&self.is_known);
            if let Some(caller) = &caller {
                state.by_caller.insert(caller.clone(), open + 1);
            }
            here.known.insert(self.number, Known { caller, evicted, flag, has_ended: Box::new(has_ended) });
            state.strangers -= 1;
            state.known += 1;
            self.is_known.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the address of the peer, or its network.
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// Completes when the connection is asked to leave, to make room for another one.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// Whether a stranger's call is in progress.
    pub(super) fn has_stranger_calls(&self) -> bool {
        self.stranger_calls.0.load(Ordering::Relaxed) > 0
    }

    /// Begins a call. Returns `None` if the connection is a stranger's and has too many calls in progress.
    pub(crate) fn begin_call(&self) -> Option<Counted> {
        if self.is_known() { Some(Counted(None)) } else { self.stranger_calls.begin(STRANGER_CALLS_MAX) }
    }

    /// Begins a call of reflection. Returns `None` if the connection has too many in progress.
    pub(crate) fn begin_reflection(&self) -> Option<Counted> {
        self.reflections.begin(REFLECTIONS_MAX)
    }

    /// Begins a health watch. Returns `None` if the connection has too many open.
    pub(crate) fn begin_watch(&self) -> Option<Counted> {
        self.watches.begin(WATCHES_MAX)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let Some(here) = state.by_address.get_mut(&self.address) else { return };
        if here.strangers.remove(&self.number).is_some() {
            state.strangers -= 1;
        } else if let Some(known) = here.known.remove(&self.number) {
            state.remove_known(known.caller);
        }
        state.forget_if_empty(self.address);
    }
}

/// The number of calls of one kind that are in progress on a connection.
#[derive(Debug, Default)]
struct Counter(Arc<AtomicUsize>);

impl Counter {
    fn begin(&self, max: usize) -> Option<Counted> {
        let counted = Counted(Some(Arc::clone(&self.0)));
        (self.0.fetch_add(1, Ordering::Relaxed) < max).then_some(counted)
    }
}

/// A call in progress, of a kind that is counted or not. Dropping it ends the count.
#[derive(Debug, Default)]
pub(crate) struct Counted(Option<Arc<AtomicUsize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(calls) = &self.0 {
            calls.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LIMITS: PlaceLimits =
        PlaceLimits { total: 6, per_address: 4, per_caller: 6, strangers: 4, strangers_per_address: 3 };

    fn host(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    /// The numbers of known callers' and of strangers' connections.
    fn counts(places: &Places) -> (usize, usize) {
        let state = places.0.lock();
        (state.known, state.strangers)
    }

    fn promote(place: &Place) {
        place.promote(None, || false);
    }

    fn is_evicted(place: &Place) -> bool {
        place.evicted.is_cancelled()
    }

    #[test]
    fn the_oldest_stranger_of_an_address_makes_room_for_its_next() {
        let places = Places::new(LIMITS);
        let other = places.enter(host(2)).unwrap();
        let here: Vec<_> = (0..4).map(|_| places.enter(host(1)).unwrap()).collect();
        assert_eq!(here.iter().map(is_evicted).collect::<Vec<_>>(), [true, false, false, false]);
        assert!(!is_evicted(&other));
    }

    #[test]
    fn the_largest_address_makes_room_for_another_one() {
        let places = Places::new(LIMITS);
        let one = places.enter(host(2)).unwrap();
        let flood: Vec<_> = (0..3).map(|_| places.enter(host(1)).unwrap()).collect();
        let _next = places.enter(host(3)).unwrap();
        assert!(!is_evicted(&one) && is_evicted(&flood[0]));
    }

    #[test]
    fn of_many_small_addresses_the_oldest_stranger_makes_room() {
        let places = Places::new(LIMITS);
        let strangers: Vec<_> = (1..=20).map(|last| places.enter(host(last)).unwrap()).collect();
        let (old, new) = strangers.split_at(16);
        assert!(old.iter().all(is_evicted) && !new.iter().any(is_evicted));
    }

    #[test]
    fn strangers_cannot_take_the_places_of_known_callers() {
        let places = Places::new(LIMITS);
        let known: Vec<_> = (1..=2).map(|host_number| places.enter(host(host_number)).unwrap()).collect();
        known.iter().for_each(promote);
        let _flood: Vec<_> = (0..20).map(|_| places.enter(host(1)).unwrap()).collect();
        assert!(!known.iter().any(is_evicted));
        assert_eq!(counts(&places), (2, 3));
    }

    #[test]
    fn known_callers_are_limited_too_and_leave_their_places() {
        let places = Places::new(LIMITS);
        let enter = || {
            let place = places.enter(host(1)).unwrap();
            promote(&place);
            place
        };
        let mut known: Vec<_> = (0..4).map(|_| enter()).collect();
        assert!(places.enter(host(1)).is_none(), "the address has all of its places");
        known.pop();
        assert!(places.enter(host(1)).is_some());
        drop(known);
        assert!(places.0.lock().by_address.is_empty());
        assert_eq!(counts(&places), (0, 0));
    }

    #[test]
    fn a_caller_has_its_share_of_the_places() {
        let places = Places::new(PlaceLimits { per_caller: 2, ..LIMITS });
        let enter = |last, caller: &'static str| {
            let place = places.enter(host(last)).unwrap();
            place.promote(Some(Actor::new(caller).unwrap()), move || caller == "ended");
            place
        };
        let mut busy: Vec<_> = [1, 2, 3].map(|last| enter(last, "busy")).into();
        assert_eq!(busy.iter().map(Place::is_known).collect::<Vec<_>>(), [true, true, false]);
        assert!(enter(3, "other").is_known(), "another caller is not limited");
        busy.remove(0);
        busy[1].promote(Some(Actor::new("busy").unwrap()), || false);
        assert!(busy[1].is_known(), "a connection that has ended counts no more");
        let ended = enter(4, "ended");
        places.demote_ended();
        assert!(!ended.is_known() && places.0.lock().by_caller.len() == 1);
        drop(busy);
        assert!(places.0.lock().by_caller.is_empty());
    }

    #[test]
    fn the_connections_of_a_key_that_has_ended_are_strangers_again() {
        let places = Places::new(LIMITS);
        let has_ended = Arc::new(AtomicBool::new(false));
        let (mut revoked, valid) = (Vec::new(), places.enter(host(1)).unwrap());
        promote(&valid);
        for last in [1, 1, 1, 2, 2] {
            let place = places.enter(host(last)).unwrap();
            let has_ended = Arc::clone(&has_ended);
            place.promote(None, move || has_ended.load(Ordering::Relaxed));
            revoked.push(place);
        }
        assert!(places.enter(host(3)).is_none(), "known callers have all places");
        places.demote_ended();
        assert_eq!(counts(&places), (6, 0));
        has_ended.store(true, Ordering::Relaxed);
        places.demote_ended();
        assert!(valid.is_known() && !revoked.iter().any(Place::is_known));
        // Five strangers are one too many, and host 1 has the most of them.
        assert_eq!(revoked.iter().map(is_evicted).collect::<Vec<_>>(), [true, false, false, false, false]);
        assert_eq!(counts(&places), (1, 4));
        let _next = places.enter(host(3)).unwrap();
        promote(&revoked[4]);
        assert!(revoked[4].is_known());
        drop((valid, revoked));
        assert_eq!(counts(&places), (0, 1));
    }

    #[test]
    fn an_evicted_connection_gives_its_place_up_once() {
        let places = Places::new(LIMITS);
        let mut here: Vec<_> = (0..4).map(|_| places.enter(host(1)).unwrap()).collect();
        promote(&here[0]);
        drop(here.remove(0));
        assert_eq!(counts(&places), (0, 3));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let address = |text: &str| network(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:10.0.0.1"), host(1));
    }

    #[test]
    fn a_stranger_has_few_calls_in_progress() {
        let place = Places::new(LIMITS).enter(host(1)).unwrap();
        let mut calls: Vec<_> = (0..STRANGER_CALLS_MAX).map(|_| place.begin_call().unwrap()).collect();
        assert!(place.begin_call().is_none());
        calls.pop();
        assert!(place.begin_call().is_some());
        promote(&place);
        assert!((0..1000).map(|_| place.begin_call()).all(|call| call.is_some()));
    }
}
