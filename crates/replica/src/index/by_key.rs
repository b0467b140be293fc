//! Which versions belong to which key, for the writer. A set of the very records that the index has, so that a key costs it
//! one pointer a version.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use key_authority_domain::id::KeyId;

use super::record::Record;

#[derive(Debug, Default)]
pub(super) struct ByKey {
    secrets: HashTable<Record>,
    hasher: RandomState,
    keys: usize,
}

impl ByKey {
    /// How many keys there are.
    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    /// Their IDs; that of a key with several versions comes as often.
    pub(super) fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.secrets.iter().map(|secret| secret.id())
    }

    /// The versions of a key.
    pub(super) fn versions(&self, id: &KeyId) -> impl Iterator<Item = &Record> {
        self.secrets.iter_hash(self.hasher.hash_one(id)).filter(move |secret| secret.id() == id)
    }

    /// Puts the versions of a key in the place of those it had, which are given back.
    pub(super) fn replace(&mut self, id: &KeyId, secrets: Vec<Record>) -> Vec<Record> {
        let hash = self.hasher.hash_one(id);
        let mut before = Vec::new();
        while let Ok(entry) = self.secrets.find_entry(hash, |secret| secret.id() == id) {
            before.push(entry.remove().0);
        }
        self.keys -= usize::from(!before.is_empty());
        self.keys += usize::from(!secrets.is_empty());
        for secret in secrets {
            self.secrets.insert_unique(hash, secret, |secret| self.hasher.hash_one(secret.id()));
        }
        before
    }
}
