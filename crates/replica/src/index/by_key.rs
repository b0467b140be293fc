//! The versions of each key, for the writer. The set shares its records with the index, so that a key costs one pointer
//! a version.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use key_authority_domain::id::KeyId;

use super::record::SharedKeyRecord;

#[derive(Debug, Default)]
pub(super) struct ByKey {
    records: HashTable<SharedKeyRecord>,
    hasher: RandomState,
    keys: usize,
}

impl ByKey {
    /// Returns the number of keys.
    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    /// Returns the IDs of the keys; the ID of a key with several versions is repeated for each.
    pub(super) fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.records.iter().map(|record| record.id())
    }

    /// Returns the versions of a key.
    pub(super) fn versions(&self, id: &KeyId) -> impl Iterator<Item = &SharedKeyRecord> {
        self.records.iter_hash(self.hasher.hash_one(id)).filter(move |record| record.id() == id)
    }

    /// Replaces the versions of a key, and returns the previous ones.
    pub(super) fn replace(&mut self, id: &KeyId, records: Vec<SharedKeyRecord>) -> Vec<SharedKeyRecord> {
        let hash = self.hasher.hash_one(id);
        let mut before = Vec::new();
        while let Ok(entry) = self.records.find_entry(hash, |record| record.id() == id) {
            before.push(entry.remove().0);
        }
        self.keys -= usize::from(!before.is_empty());
        self.keys += usize::from(!records.is_empty());
        for record in records {
            self.records.insert_unique(hash, record, |record| self.hasher.hash_one(record.id()));
        }
        before
    }
}
