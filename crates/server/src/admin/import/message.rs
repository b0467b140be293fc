//! A message of keys to import: its keys, its parts, and the idempotency key of each part.

use std::ops::Range;
use std::sync::Arc;

use key_authority_domain::audit::{IdempotencyKey, LoggedEvent};
use key_authority_domain::secret::Keyring;
use key_authority_proto::v1;
use prost::Message as _;

use super::plan::Candidate;
use crate::admin::import_queue::AdmittedImport;
use crate::admin::parts::of_part;
use crate::rpc::errors::RpcError;
use crate::wire::idempotency_key::keyed;
use crate::wire::import::{self, ImportSpec};
use crate::wire::violations::Violations;

/// Maximum number of keys in one transaction. Other changes wait for it.
const PART_KEYS_MAX: usize = 500;
/// Maximum encoded size of the keys in one transaction, in bytes.
const PART_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The keys of a message, or their violations.
pub(super) type Candidates = [Result<Candidate, Violations>];

/// A message to import.
pub(super) struct ImportMessage {
    pub(super) spec: ImportSpec,
    /// The idempotency keys of the whole message: one for each version of the authority secret, the first one for the
    /// log. Empty without a request ID.
    pub(super) request_keys: Vec<IdempotencyKey>,
    pub(super) candidates: Arc<Candidates>,
    /// The parts, in order. They follow from the message alone, so that a repeated message has the same ones.
    pub(super) parts: Vec<Range<usize>>,
    /// Counts the message among those of its caller while it is in memory.
    pub(super) admission: Arc<AdmittedImport>,
}

impl ImportMessage {
    /// Reads a message.
    ///
    /// # Errors
    /// The violations of the message as a whole.
    pub(super) fn read(
        keyring: &Keyring,
        request: v1::ImportKeysRequest,
        admission: Arc<AdmittedImport>,
    ) -> Result<Self, RpcError> {
        let sizes: Vec<usize> = request.keys.iter().map(v1::ImportedKey::encoded_len).collect();
        let mut spec = import::import_keys(request)?;
        let request_keys = keyed(keyring, spec.request.take().as_ref());
        let keys = std::mem::take(&mut spec.keys).into_iter();
        let candidates = keys.map(|key| key.map(|key| Candidate::new(keyring, key))).collect();
        Ok(Self { spec, request_keys, candidates, parts: parts(&sizes), admission })
    }

    /// Returns the range of all keys.
    pub(super) fn all(&self) -> Range<usize> {
        0..self.candidates.len()
    }

    /// Returns the keys of a part.
    pub(super) fn candidates_of(&self, part: &Range<usize>) -> &Candidates {
        self.candidates.get(part.clone()).unwrap_or_default()
    }

    /// Returns the idempotency keys of a part. The only part of a message has those of the message; the first of
    /// several has the same request ID with another digest.
    pub(super) fn keys_of_part(&self, number: usize) -> Vec<IdempotencyKey> {
        if self.parts.len() == 1 {
            return self.request_keys.clone();
        }
        self.request_keys.iter().map(|key| of_part(key, number)).collect()
    }

    /// Returns the idempotency keys under which the first part may have been imported: its own, and those of the whole
    /// message, which an earlier build imported in one change.
    pub(super) fn keys_of_first(&self) -> Vec<IdempotencyKey> {
        let mut keys = self.keys_of_part(0);
        if self.parts.len() > 1 {
            keys.extend(self.request_keys.iter().cloned());
        }
        keys
    }

    /// Whether an event of the message's request ID is of the whole message.
    pub(super) fn is_whole(&self, logged: &LoggedEvent) -> bool {
        logged.event.request.as_ref().is_some_and(|request| self.request_keys.contains(request))
    }
}

/// Cuts keys of these sizes into parts.
fn parts(sizes: &[usize]) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0_usize;
    for (index, size) in sizes.iter().enumerate() {
        bytes = bytes.saturating_add(*size);
        match parts.last_mut() {
            Some(part) if part.len() < PART_KEYS_MAX && bytes <= PART_BYTES_MAX => part.end = index + 1,
            _ => {
                parts.push(index..index + 1);
                bytes = *size;
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_limited_in_keys_and_in_bytes() {
        assert_eq!(parts(&[1; 1_200]), [0..500, 500..1_000, 1_000..1_200]);
        assert_eq!(parts(&[1; 500]).len(), 1);
        assert_eq!(parts(&[PART_BYTES_MAX - 1, 1, 1]), [0..2, 2..3]);
        assert_eq!(parts(&[PART_BYTES_MAX + 1, PART_BYTES_MAX + 1, 1]), [0..1, 1..2, 2..3]);
        assert!(parts(&[]).is_empty());
    }
}
