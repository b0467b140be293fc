//! The plan of a part of an import: each key is new, exists already, or is rejected with a reason.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
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
use key_authority_replica::protocol::wait::CommittedChange;
use key_authority_storage::holders::Holder;
use key_authority_storage::read_tx::ReadTx;

use crate::admin::audited::AuditRecord;
use crate::entropy;
use crate::rpc::errors::RpcError;
use crate::wire::import::ImportedKey;
use crate::wire::violations::Violations;

/// A key of the message, with its digests.
pub(super) struct Candidate {
    key: ImportedKey,
    scheme: Scheme,
    /// The digest under which its token will be stored.
    digest: TokenDigest,
    /// The digests under which its token may exist already.
    known: Vec<TokenDigest>,
}

impl Candidate {
    pub(super) fn new(keyring: &Keyring, key: ImportedKey) -> Self {
        let (scheme, digest) = (key.secret.scheme(), keyring.stored_digest(&key.secret));
        let known = keyring.possible_digests(&key.secret);
        Self { key, scheme, digest, known }
    }
}

/// How a part is planned.
#[derive(Clone, Copy)]
pub(super) enum Mode<'a> {
    /// It is imported. The tokens of these digests were imported by earlier parts of the message.
    New(&'a HashSet<TokenDigest>),
    /// It was imported before.
    Repeated,
}

/// The existing keys that a part may collide with, including those that the message itself has added so far.
pub(super) struct ExistingKeys {
    holders: HashMap<TokenDigest, Holder>,
    ids: HashSet<KeyId>,
    /// The digests of the new keys of earlier parts.
    earlier: HashSet<TokenDigest>,
    /// The digests of the new keys of this part.
    digests: HashSet<TokenDigest>,
    /// The number of keys that count towards the account's limit, if it has one.
    counted: u64,
}

impl ExistingKeys {
    pub(super) async fn read(
        tx: &ReadTx,
        candidates: &[Result<Candidate, Violations>],
        account: &Account,
        mode: Mode<'_>,
    ) -> Result<Self, RpcError> {
        let candidates = || candidates.iter().flatten();
        let known: Vec<_> = candidates().flat_map(|candidate| &candidate.known).copied().collect();
        let requested: Vec<_> = candidates().filter_map(|candidate| candidate.key.spec.id.clone()).collect();
        let counted = match account.policy.max_keys {
            Some(max) => tx.count_towards_limit(&account.id, account.policy.counted, max).await?,
            None => 0,
        };
        let (ids, earlier) = match mode {
            // An ID of a part that was imported before was used by that import.
            Mode::Repeated => (tx.existing_key_ids(&requested).await?, HashSet::new()),
            Mode::New(imported) => {
                let earlier = known.iter().filter(|digest| imported.contains(*digest)).copied().collect();
                (tx.used_key_ids(&requested).await?, earlier)
            }
        };
        let holders = tx.holders(&known).await?;
        Ok(Self { holders, ids, earlier, digests: HashSet::new(), counted })
    }
}

/// Plans an import: the account and policy that keys are checked against, and the attributes that they get.
pub(super) struct ImportPlanner {
    account: Account,
    actor: Actor,
    now: Timestamp,
    revision: Revision,
    keyring: Arc<Keyring>,
}

/// The planned outcome for a valid key.
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

    /// Plans the import of a part of a message.
    pub(super) fn plan(
        &self,
        candidates: &[Result<Candidate, Violations>],
        part: Range<usize>,
        mut existing: ExistingKeys,
    ) -> Result<ImportPlan, RpcError> {
        let mut plan = ImportPlan::default();
        // A message has at most ten thousand keys.
        let start = u32::try_from(part.start).unwrap_or(u32::MAX);
        for (index, candidate) in (start..).zip(candidates.get(part).unwrap_or_default()) {
            let outcome = match candidate {
                Ok(candidate) => self.outcome(candidate, &mut existing),
                Err(violations) => Err(violations.clone().into()),
            };
            match outcome {
                Ok(ImportOutcome::Existing(revision)) => plan.existing.push((index, revision)),
                Ok(ImportOutcome::New(key)) => {
                    plan.keys.push(*key);
                    plan.indices.push(index);
                }
                Err(error) if error.is_refusal() => plan.errors.push(key_error(index, &error)),
                Err(error) => return Err(error),
            }
        }
        plan.digests = existing.digests;
        plan.record = (!plan.keys.is_empty()).then(|| AuditRecord {
            after: Some(snapshot::of_import(&self.account.id, &plan.keys, self.now)),
            ..AuditRecord::of_account(self.account.id.clone())
        });
        Ok(plan)
    }

    fn outcome(&self, candidate: &Candidate, existing: &mut ExistingKeys) -> Result<ImportOutcome, RpcError> {
        let Candidate { key: ImportedKey { spec, secret, hint }, scheme, digest, known } = candidate;
        if known.iter().any(|digest| existing.earlier.contains(digest)) {
            return Err(RpcError::TokenExists);
        }
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

/// The plan for a part of a message.
#[derive(Default)]
pub(super) struct ImportPlan {
    /// The keys to insert.
    pub(super) keys: Vec<Key>,
    /// The digests of these keys' tokens.
    pub(super) digests: HashSet<TokenDigest>,
    /// The indices of `keys` in the message.
    indices: Vec<u32>,
    /// The indices of keys that exist already, and the revisions that created them.
    existing: Vec<(u32, Revision)>,
    /// How many keys of a repeated part still exist.
    replayed: usize,
    errors: Vec<v1::ImportKeyError>,
    /// `None` when there are no new keys.
    pub(super) record: Option<AuditRecord>,
}

impl ImportPlan {
    /// Returns the newest change that created an existing key of the part. A part may name only keys that exist
    /// already, and its caller may not know that every replica has them.
    pub(super) fn newest_existing_change(&self) -> Option<CommittedChange> {
        let revision = self.existing.iter().map(|(_, revision)| *revision).max()?;
        Some(CommittedChange { revision, hash: None })
    }

    /// Returns the plan for a part that was imported before, as `revision`: none of its keys is new.
    pub(super) fn replayed(mut self, revision: Option<Revision>) -> Self {
        let before = self.existing.len();
        self.existing.retain(|(_, created)| Some(*created) != revision);
        self.replayed = before - self.existing.len();
        self.keys.clear();
        self.errors.extend(self.indices.drain(..).map(no_longer_imported));
        self.errors.sort_by_key(|error| error.index);
        self
    }
}

/// The outcome of a message: the sum of its parts.
#[derive(Default)]
pub(super) struct ImportTotal {
    imported: usize,
    existing: usize,
    errors: Vec<v1::ImportKeyError>,
    /// The newest change of the message, or of the keys that existed already. When it is enforced, so are all before.
    pub(super) newest_change: Option<CommittedChange>,
}

impl ImportTotal {
    /// Adds a part and its change. Parts are added in their order.
    pub(super) fn add(&mut self, plan: ImportPlan, change: Option<CommittedChange>) {
        self.imported += plan.keys.len() + plan.replayed;
        self.existing += plan.existing.len();
        self.errors.extend(plan.errors);
        if let Some(change) = change
            && self.newest_change.is_none_or(|newest| newest.revision < change.revision)
        {
            self.newest_change = Some(change);
        }
    }

    pub(super) fn response(self) -> v1::ImportKeysResponse {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        v1::ImportKeysResponse {
            imported: count(self.imported),
            existing: count(self.existing),
            errors: self.errors,
            propagation: None,
        }
    }
}

/// Returns the error for a key of a repeated message that would be new. Whether it was rejected the first time or
/// deleted since is not recorded.
fn no_longer_imported(index: u32) -> v1::ImportKeyError {
    let message = "was not imported with this message, or no longer exists".to_owned();
    v1::ImportKeyError { message, ..key_error(index, &RpcError::KeyNotFound) }
}

/// Returns the error for the key at `index`.
fn key_error(index: u32, error: &RpcError) -> v1::ImportKeyError {
    let field = match error {
        RpcError::Invalid(violations) => violations.iter().next().map(|violation| violation.field.clone()),
        _ => None,
    };
    v1::ImportKeyError {
        index,
        field: field.unwrap_or_default(),
        reason: error.code().1.to_owned(),
        message: error.message(),
    }
}
