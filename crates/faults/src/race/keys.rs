//! The keys that are asked about. Those around their revocation are asked about most.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::history::Key;
use crate::chance::Chance;
use crate::clock::Clock;

/// How long after its revocation a key is asked about as often as while it is revoked.
const HOT: Duration = Duration::from_secs(3);
/// How long after its revocation it is asked about at all: longer than any replica is stopped.
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
    /// Being revoked, or revoked just now.
    hot: Vec<Arc<Key>>,
    /// Revoked a while ago.
    warm: Vec<Arc<Key>>,
}

impl Keys {
    pub(crate) fn add_control(&self, key: Key) {
        self.write(|groups| groups.control.push(Arc::new(key)));
    }

    pub(crate) fn add_fresh(&self, key: Key) {
        self.write(|groups| groups.fresh.push(Arc::new(key)));
    }

    /// How many are there to be revoked.
    pub(crate) fn fresh(&self) -> usize {
        self.read(|groups| groups.fresh.len())
    }

    /// The keys that are never revoked.
    pub(crate) fn control(&self) -> Vec<Arc<Key>> {
        self.read(|groups| groups.control.clone())
    }

    /// Takes a key that has been found valid, to be revoked now. None when there is none.
    pub(crate) fn take(&self) -> Option<Arc<Key>> {
        self.write(|groups| {
            let place = groups.fresh.iter().position(|key| key.was_valid())?;
            let key = groups.fresh.swap_remove(place);
            groups.hot.push(Arc::clone(&key));
            Some(key)
        })
    }

    /// Moves on those whose revocation lies some time back.
    pub(crate) fn age(&self, clock: Clock) {
        let is_older = |key: &Arc<Key>, age| key.returned().is_some_and(|at| clock.since(at) > age);
        self.write(|groups| {
            let cooled: Vec<_> = groups.hot.extract_if(.., |key| is_older(key, HOT)).collect();
            groups.warm.extend(cooled);
            groups.warm.retain(|key| !is_older(key, WARM));
        });
    }

    /// A key to ask about.
    pub(crate) fn pick(&self, chance: &mut Chance) -> Option<Arc<Key>> {
        self.read(|groups| {
            let group = match chance.below(100) {
                0..5 => &groups.control,
                5..20 => &groups.fresh,
                20..35 => &groups.warm,
                _ => &groups.hot,
            };
            let picked = chance.one_of(group).or_else(|| chance.one_of(&groups.warm));
            picked.or_else(|| chance.one_of(&groups.fresh)).or_else(|| chance.one_of(&groups.control)).cloned()
        })
    }

    fn read<T>(&self, look: impl FnOnce(&Groups) -> T) -> T {
        look(&self.groups.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Groups) -> T) -> T {
        change(&mut self.groups.write().unwrap_or_else(PoisonError::into_inner))
    }
}
