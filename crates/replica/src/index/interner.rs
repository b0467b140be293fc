//! Interns the attributes that many keys share.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use key_authority_domain::access::Access;
use key_authority_domain::key::Labels;

use super::record::{AccountRef, EncodedFragment, FlatLabels, SharedAttributes};

/// A sweep drops what no key uses any more, once the number of entries has doubled since the last sweep, and never
/// below this number.
const SWEEP_FROM: usize = 1_024;

/// The shared attributes of all keys.
#[derive(Debug, Default)]
pub(super) struct Interner {
    access: Shared<Access>,
    attributes: Shared<SharedAttributes>,
}

impl Interner {
    /// Returns the shared instance of these attributes.
    pub(super) fn intern(&mut self, account: AccountRef, access: &Access, labels: &Labels) -> Arc<SharedAttributes> {
        let access = self.access.intern_copy(access);
        self.attributes.intern(SharedAttributes {
            account,
            access,
            labels: FlatLabels::new(labels),
            encoded: EncodedFragment::default(),
        })
    }

    /// Drops what no key uses any more, when a sweep is due.
    pub(super) fn sweep(&mut self) {
        self.attributes.sweep();
        self.access.sweep();
    }
}

#[derive(Debug)]
struct Shared<T> {
    all: HashSet<Arc<T>>,
    sweep_at: usize,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { all: HashSet::new(), sweep_at: SWEEP_FROM }
    }
}

impl<T: Hash + Eq> Shared<T> {
    fn intern(&mut self, value: T) -> Arc<T> {
        if let Some(known) = self.all.get(&value) {
            return Arc::clone(known);
        }
        self.insert(value)
    }

    /// Interns a copy of `value`, which is made only if there is no equal value yet.
    fn intern_copy(&mut self, value: &T) -> Arc<T>
    where
        T: Clone,
    {
        if let Some(known) = self.all.get(value) {
            return Arc::clone(known);
        }
        self.insert(value.clone())
    }

    fn insert(&mut self, value: T) -> Arc<T> {
        let new = Arc::new(value);
        self.all.insert(Arc::clone(&new));
        new
    }

    fn sweep(&mut self) {
        if self.all.len() >= self.sweep_at {
            self.all.retain(|shared| Arc::strong_count(shared) > 1);
            self.sweep_at = (self.all.len() * 2).max(SWEEP_FROM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_shared_and_unused_ones_are_swept() {
        let mut shared = Shared::default();
        let (one, other) = (shared.intern("a".to_owned()), shared.intern("b".to_owned()));
        assert!(Arc::ptr_eq(&one, &shared.intern("a".to_owned())) && !Arc::ptr_eq(&one, &other));
        for number in 0..SWEEP_FROM {
            shared.intern(number.to_string());
        }
        drop(other);
        shared.sweep();
        assert_eq!((shared.all.len(), shared.sweep_at), (1, SWEEP_FROM));
        assert!(Arc::ptr_eq(&one, &shared.intern("a".to_owned())));
    }
}
