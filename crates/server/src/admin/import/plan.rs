//! What becomes of each key of an import: it is new, it is there already, or it is refused, with the reason.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use key_authority_domain::account::Account;
use key_authority_domain::foreign::{ImportedSecret, Scheme};
use key_authority_domain::id::{Actor, KeyId, Revision};
use key_authority_domain::key::{Key, MintedSecret};
use key_authority_domain::seal::SealContext;
use key_authority_domain::secret::Keyring;
use key_authority_domain::snapshot;
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;
use key_authority_proto::v1;
use key_authority_storage::holders::Holder;
use key_authority_storage::read_tx::ReadTx;

use crate::admin::audited::AuditRecord;
use crate::entropy;
use crate::rpc::errors::RpcError;
use crate::wire::import::ImportedKey;
use crate::wire::violations::Violations;

/// A key that was read.
pub(super) struct Candidate {
    key: ImportedKey,
    scheme: Scheme,
    /// How its token will be kept.
    digest: TokenDigest,
    /// By what its token may be here already.
    known: Vec<TokenDigest>,
}

impl Candidate {
    pub(super) fn new(keyring: &Keyring, key: ImportedKey) -> Self {
        let (scheme, digest) = (key.secret.scheme(), keyring.stored_digest(&key.secret));
        let known = keyring.possible_digests(&key.secret);
        Self { key, scheme, digest, known }
    }
}

/// What is there already of what a message brings, and what came of the message so far.
pub(super) struct ExistingKeys {
    holders: HashMap<TokenDigest, Holder>,
    ids: HashSet<KeyId>,
    /// Those of this message.
    digests: HashSet<TokenDigest>,
    /// How many keys count towards the account's limit, where it has one.
    counted: u64,
}

impl ExistingKeys {
    pub(super) async fn read(
        tx: &ReadTx,
        candidates: &[Result<Candidate, Violations>],
        account: &Account,
        is_repeated: bool,
    ) -> Result<Self, RpcError> {
        let candidates = || candidates.iter().flatten();
        let known: Vec<_> = candidates().flat_map(|candidate| &candidate.known).copied().collect();
        let asked: Vec<_> = candidates().filter_map(|candidate| candidate.key.spec.id.clone()).collect();
        let counted = match account.policy.max_keys {
            Some(_) => tx.count_keys(&account.id, account.policy.counted).await?,
            None => 0,
        };
        // The IDs of a message that was imported before were used by it.
        let ids = if is_repeated { tx.existing_key_ids(&asked).await? } else { tx.used_key_ids(&asked).await? };
        let holders = tx.holders(&known).await?;
        Ok(Self { holders, ids, digests: HashSet::new(), counted })
    }
}

/// By what keys are judged, and what they get.
pub(super) struct ImportPlanner {
    account: Account,
    actor: Actor,
    now: Timestamp,
    revision: Revision,
    keyring: Arc<Keyring>,
}

/// What is to be done about a key.
enum ImportOutcome {
    New(Box<Key>),
    Existing(Revision),
}

impl ImportPlanner {
    pub(super) fn new(account: Account, actor: Actor, tx: &ReadTx, keyring: Arc<Keyring>) -> Self {
        Self { account, actor, now: tx.now(), revision: tx.revision(), keyring }
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// Judges a message.
    pub(super) fn plan(
        &self,
        candidates: &[Result<Candidate, Violations>],
        mut existing: ExistingKeys,
    ) -> Result<ImportPlan, RpcError> {
        let mut plan = ImportPlan::default();
        for (place, candidate) in (0..).zip(candidates) {
            let outcome = match candidate {
                Ok(candidate) => self.outcome(candidate, &mut existing),
                Err(violations) => Err(violations.clone().into()),
            };
            match outcome {
                Ok(ImportOutcome::Existing(revision)) => plan.existing.push((place, revision)),
                Ok(ImportOutcome::New(key)) => {
                    plan.keys.push(*key);
                    plan.places.push(place);
                }
                Err(failure) if failure.is_refusal() => plan.errors.push(error(place, &failure)),
                Err(fault) => return Err(fault),
            }
        }
        plan.record = (!plan.keys.is_empty()).then(|| AuditRecord {
            after: Some(snapshot::of_import(&self.account.id, &plan.keys, self.now)),
            ..AuditRecord::of_account(self.account.id.clone())
        });
        Ok(plan)
    }

    fn outcome(&self, candidate: &Candidate, existing: &mut ExistingKeys) -> Result<ImportOutcome, RpcError> {
        let Candidate { key: ImportedKey { spec, secret, hint }, scheme, digest, known } = candidate;
        if let Some(holder) = known.iter().find_map(|digest| existing.holders.get(digest)) {
            let is_this = holder.account == self.account.id && spec.id.as_ref().is_none_or(|id| *id == holder.key_id);
            return if is_this {
                Ok(ImportOutcome::Existing(holder.create_revision))
            } else {
                Err(RpcError::TokenExists)
            };
        }
        if known.iter().any(|digest| existing.digests.contains(digest)) {
            return Err(RpcError::TokenExists);
        }
        let id = match &spec.id {
            Some(id) if existing.ids.contains(id) => return Err(RpcError::KeyExists(id.clone())),
            Some(id) => id.clone(),
            None => KeyId::generate(entropy::fill)?,
        };
        let sealed = match secret {
            ImportedSecret::Token(token) if self.account.policy.recoverable => {
                let context = SealContext::Token { key_id: id.as_str(), version: 1 };
                Some(self.keyring.seal(context, token.reveal().as_bytes(), entropy::bytes()?))
            }
            _ => None,
        };
        let secret_version = self.keyring.current();
        let minted = MintedSecret { digest: *digest, scheme: *scheme, secret_version, hint: hint.clone(), sealed };
        let new = spec.clone().into_new_key(id, self.actor.clone());
        let key = Key::create(&self.account, new, minted, self.now, self.revision)?;
        if key.is_counted(self.account.policy.counted, self.now) {
            self.account.policy.check_room(existing.counted)?;
            existing.counted += 1;
        }
        existing.ids.insert(key.id.clone());
        existing.digests.extend(known.iter().copied());
        Ok(ImportOutcome::New(Box::new(key)))
    }
}

/// What came of a message.
#[derive(Default)]
pub(super) struct ImportPlan {
    /// The new keys.
    pub(super) keys: Vec<Key>,
    /// The places of those in the message.
    places: Vec<u32>,
    /// The places of those that are there already, and the revisions that created them.
    existing: Vec<(u32, Revision)>,
    /// How many keys of a repeated message are still existing.
    replayed: usize,
    errors: Vec<v1::ImportKeyError>,
    /// None when there are no new keys.
    pub(super) record: Option<AuditRecord>,
}

impl ImportPlan {
    /// The newest change that brought a key which is there already.
    pub(super) fn newest_existing(&self) -> Option<Revision> {
        self.existing.iter().map(|(_, revision)| *revision).max()
    }

    /// The same for a message that was imported before, as `revision`: nothing of it is new.
    pub(super) fn replayed(mut self, revision: Revision) -> Self {
        let before = self.existing.len();
        self.existing.retain(|(_, created)| *created != revision);
        self.replayed = before - self.existing.len();
        self.keys.clear();
        self.errors.extend(self.places.drain(..).map(not_there));
        self.errors.sort_by_key(|error| error.index);
        self
    }

    pub(super) fn response(self) -> v1::ImportKeysResponse {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        v1::ImportKeysResponse {
            imported: count(self.keys.len() + self.replayed),
            existing: count(self.existing.len()),
            errors: self.errors,
            propagation: None,
        }
    }
}

/// Of a key of a repeated message that would be new. Whether it was refused the first time or deleted since, nobody kept.
fn not_there(place: u32) -> v1::ImportKeyError {
    let message = "was not imported with this message, or is there no more".to_owned();
    v1::ImportKeyError { message, ..error(place, &RpcError::KeyNotFound) }
}

/// Why the key at `place` was not imported.
fn error(place: u32, failure: &RpcError) -> v1::ImportKeyError {
    let field = match failure {
        RpcError::Invalid(violations) => violations.iter().next().map(|violation| violation.field.clone()),
        _ => None,
    };
    v1::ImportKeyError {
        index: place,
        field: field.unwrap_or_default(),
        reason: failure.code().1.to_owned(),
        message: failure.message(),
    }
}
