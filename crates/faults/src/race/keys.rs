//! The keys to verify. Keys close to their revocation are verified most often.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::history::Key;
use key_authority_testkit::clock::Clock;
use key_authority_testkit::rng::SeededRng;
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;

/// How long after its revocation a key is verified as often as during it.
const HOT: Duration = Duration::from_secs(3);
/// How long after its revocation a key is verified at all: longer than any replica is stopped.
const WARM: Duration = Duration::from_secs(45);

/// The keys.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    groups: RwLock<Groups>,
}

#[derive(Debug, Default)]
struct Groups {
    /// Never revoked.
    control: Vec<Arc<Key>>,
    /// To be revoked.
    fresh: Vec<Arc<Key>>,
    /// Being revoked, or revoked recently.
    hot: Vec<Arc<Key>>,
    /// Revoked longer than [`HOT`] ago.
    warm: Vec<Arc<Key>>,
}

impl Keys {
    pub(crate) fn add_control(&self, key: Key) {
        self.write(|groups| groups.control.push(Arc::new(key)));
    }

    pub(crate) fn add_fresh(&self, key: Key) {
        self.write(|groups| groups.fresh.push(Arc::new(key)));
    }

    /// The number of keys to revoke.
    pub(crate) fn fresh(&self) -> usize {
        self.read(|groups| groups.fresh.len())
    }

    /// The keys that are never revoked.
    pub(crate) fn control(&self) -> Vec<Arc<Key>> {
        self.read(|groups| groups.control.clone())
    }

    /// Takes a key to revoke that was found valid; None if there is none.
    pub(crate) fn take(&self) -> Option<Arc<Key>> {
        self.write(|groups| {
            let place = groups.fresh.iter().position(|key| key.was_valid())?;
            let key = groups.fresh.swap_remove(place);
            groups.hot.push(Arc::clone(&key));
            Some(key)
        })
    }

    /// Moves keys to the next group by the age of their revocation.
    pub(crate) fn age(&self, clock: Clock) {
        let is_older = |key: &Arc<Key>, age| key.returned().is_some_and(|at| clock.since(at) > age);
        self.write(|groups| {
            let cooled: Vec<_> = groups.hot.extract_if(.., |key| is_older(key, HOT)).collect();
            groups.warm.extend(cooled);
            groups.warm.retain(|key| !is_older(key, WARM));
        });
    }

    /// A random key to verify.
    pub(crate) fn pick(&self, rng: &mut SeededRng) -> Option<Arc<Key>> {
        self.read(|groups| {
            let group = match rng.random_range(0..100) {
                0..5 => &groups.control,
                5..20 => &groups.fresh,
                20..35 => &groups.warm,
                _ => &groups.hot,
            };
            let groups = [group, &groups.warm, &groups.fresh, &groups.control];
            groups.into_iter().find_map(|group| group.choose(rng)).cloned()
        })
    }

    fn read<T>(&self, look: impl FnOnce(&Groups) -> T) -> T {
        look(&self.groups.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Groups) -> T) -> T {
        change(&mut self.groups.write().unwrap_or_else(PoisonError::into_inner))
    }
}
