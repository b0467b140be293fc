//! What one replica has observed of the others in the registry.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use key_authority_domain::id::ReplicaId;
use key_authority_storage::registry::{Nonce, ReplicaRow};

use crate::clock::Boottime;

/// When each replica's row was last seen to change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Observed(BTreeMap<ReplicaId, (Nonce, Boottime)>);

impl Observed {
    /// Records what the registry shows, and returns whether any of it is new. `now` is when the answer was received,
    /// not when the statement was sent.
    pub fn note(&mut self, rows: &[ReplicaRow], now: Boottime) -> bool {
        self.0.retain(|id, _| rows.iter().any(|row| row.id == *id));
        let mut is_new = false;
        for row in rows {
            if self.0.get(&row.id).is_none_or(|(nonce, _)| *nonce != row.nonce) {
                self.0.insert(row.id, (row.nonce, now));
                is_new = true;
            }
        }
        is_new
    }

    /// Whether the row was recorded with another value: its replica runs.
    #[must_use]
    pub fn has_changed(&self, row: &ReplicaRow) -> bool {
        self.0.get(&row.id).is_some_and(|(nonce, _)| *nonce != row.nonce)
    }

    /// Whether the row has not changed for `wait`.
    #[must_use]
    pub fn is_silent(&self, row: &ReplicaRow, wait: Duration, now: Boottime) -> bool {
        self.0.get(&row.id).is_some_and(|(nonce, since)| *nonce == row.nonce && now.since(*since) >= wait)
    }

    pub(crate) fn silences(&self, now: Boottime) -> HashMap<ReplicaId, Duration> {
        self.0.iter().map(|(id, (_, since))| (*id, now.since(*since))).collect()
    }
}
