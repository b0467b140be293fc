//! Keeps once what many keys have in common.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use key_authority_domain::access::Access;
use key_authority_domain::key::Labels;

use super::resident::{AccountRef, EncodedFragment, FlatLabels, Kind};

/// What no key has any more is forgotten when there is twice as much as after the last time, but not below this.
const FORGET_FROM: usize = 1_024;

/// All that is shared.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    access: Shared<Access>,
    kinds: Shared<Kind>,
}

impl Kinds {
    /// The one of these parts.
    pub(super) fn of(&mut self, account: AccountRef, access: Access, labels: &Labels) -> Arc<Kind> {
        let access = self.access.one(access);
        self.kinds.one(Kind { account, access, labels: FlatLabels::new(labels), encoded: EncodedFragment::default() })
    }

    /// Forgets what no key has any more, when it is time.
    pub(super) fn forget(&mut self) {
        self.kinds.forget();
        self.access.forget();
    }
}

#[derive(Debug)]
struct Shared<T> {
    all: HashSet<Arc<T>>,
    forget_at: usize,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { all: HashSet::new(), forget_at: FORGET_FROM }
    }
}

impl<T: Hash + Eq> Shared<T> {
    fn one(&mut self, value: T) -> Arc<T> {
        if let Some(known) = self.all.get(&value) {
            return Arc::clone(known);
        }
        let new = Arc::new(value);
        self.all.insert(Arc::clone(&new));
        new
    }

    fn forget(&mut self) {
        if self.all.len() >= self.forget_at {
            self.all.retain(|one| Arc::strong_count(one) > 1);
            self.forget_at = (self.all.len() * 2).max(FORGET_FROM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_are_kept_once_and_forgotten_when_nobody_has_them() {
        let mut shared = Shared::default();
        let (one, other) = (shared.one("a".to_owned()), shared.one("b".to_owned()));
        assert!(Arc::ptr_eq(&one, &shared.one("a".to_owned())) && !Arc::ptr_eq(&one, &other));
        for number in 0..FORGET_FROM {
            shared.one(number.to_string());
        }
        drop(other);
        shared.forget();
        assert_eq!((shared.all.len(), shared.forget_at), (1, FORGET_FROM));
        assert!(Arc::ptr_eq(&one, &shared.one("a".to_owned())));
    }
}
