//! The resident record of a version of a key's secret, in one allocation, and the attributes that many keys share.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use key_authority_domain::access::Access;
use key_authority_domain::foreign::Scheme;
use key_authority_domain::id::{AccountId, KeyId, Revision};
use key_authority_domain::key::{Key, Labels, Secret};
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;
use key_authority_domain::verdict::KeyFacts;
use key_authority_storage::usage::UsageDelta;

use super::counters::{LastUsed, Uses};

/// Maximum size of an encoded fragment that is kept, in bytes.
const KEPT_FRAGMENT_MAX: usize = 4 * 1024;

/// An account, as far as Verify needs it.
#[derive(Debug)]
pub(super) struct ResidentAccount {
    pub(super) id: AccountId,
    pub(super) suspended: AtomicBool,
}

/// The attributes that keys of one account with the same access and labels share. Most keys are like others, so each
/// combination is in memory once.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SharedAttributes {
    pub(super) account: AccountRef,
    pub(super) access: Arc<Access>,
    pub(super) labels: FlatLabels,
    pub(super) encoded: EncodedFragment,
}

/// The part of a response that is the same for all keys with these attributes, encoded on first use. It follows from
/// the attributes, so equality ignores it.
#[derive(Debug, Default)]
pub(super) struct EncodedFragment(OnceLock<Box<[u8]>>);

impl PartialEq for EncodedFragment {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for EncodedFragment {}

impl Hash for EncodedFragment {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// A reference to one account. An account that is created again under the ID of a deleted one is a different account,
/// with its own state.
#[derive(Debug, Clone)]
pub(super) struct AccountRef(pub(super) Arc<ResidentAccount>);

impl PartialEq for AccountRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for AccountRef {}

impl Hash for AccountRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

/// Labels in one allocation: names and values in turn, each terminated by a NUL, which neither may contain.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FlatLabels(Box<str>);

impl FlatLabels {
    const END: char = '\0';

    pub(super) fn new(labels: &Labels) -> Self {
        let texts = labels.iter().flat_map(|(name, value)| [name, value]);
        let len = texts.clone().map(|text| text.len() + 1).sum();
        let mut all = String::with_capacity(len);
        for text in texts {
            all.push_str(text);
            all.push(Self::END);
        }
        Self(all.into())
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut texts = self.0.split_terminator(Self::END);
        std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
    }
}

/// A shared [`KeyRecord`].
///
/// The `Arc` has no weak count: with one, a record would take the allocator's next larger size class.
pub type SharedKeyRecord = triomphe::Arc<KeyRecord>;

/// One token of a key, with all that Verify needs: the result of a lookup. A key that was renewed has a record for each
/// token.
#[derive(Debug)]
pub struct KeyRecord {
    pub(crate) digest: TokenDigest,
    id: KeyId,
    pub(crate) create_revision: Revision,
    pub(super) scheme: Scheme,
    shared: Arc<SharedAttributes>,
    expire_time: End,
    retire_time: End,
    pub(crate) last_used: LastUsed,
    pub(crate) uses: Uses,
    disabled: bool,
    pub(crate) revoked: bool,
    /// Whether the token is rejected although the database accepts it; see [`super::tombstones`].
    is_quarantined: AtomicBool,
}

// Together with its reference count, a record fits a size class of the allocator; one more byte would cost sixteen.
const _: () = assert!(size_of::<KeyRecord>() + size_of::<usize>() <= 112);

/// An optional instant, in the space of one.
#[derive(Debug, Clone, Copy)]
struct End(Timestamp);

impl End {
    const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

    fn new(end: Option<Timestamp>) -> Self {
        Self(end.unwrap_or(Self::NEVER))
    }

    fn get(self) -> Option<Timestamp> {
        (self.0 != Self::NEVER).then_some(self.0)
    }
}

impl KeyRecord {
    /// A version of `key`. `known` is the resident record of this digest so far.
    pub(super) fn new(
        key: &Key,
        secret: &Secret,
        shared: Arc<SharedAttributes>,
        is_quarantined: bool,
        known: Option<&Self>,
    ) -> Self {
        Self {
            digest: secret.digest,
            id: key.id.clone(),
            create_revision: key.create_revision,
            scheme: secret.scheme,
            shared,
            expire_time: End::new(key.expire_time),
            retire_time: End::new(secret.effective_retire_time()),
            last_used: LastUsed::new(known.and_then(|known| known.last_used_time_of(key))),
            uses: Uses::default(),
            disabled: key.disabled,
            revoked: key.revocation.is_some(),
            is_quarantined: AtomicBool::new(is_quarantined),
        }
    }

    /// Returns the facts that `decide` evaluates.
    #[must_use]
    pub fn facts(&self) -> KeyFacts<'_> {
        KeyFacts {
            key_id: self.id.as_str(),
            account: self.account().as_str(),
            account_suspended: self.shared.account.0.suspended.load(Ordering::Acquire),
            revoked: self.revoked || self.is_quarantined.load(Ordering::Acquire),
            disabled: self.disabled,
            expire_time: self.expire_time(),
            retire_time: self.retire_time(),
            access: self.access(),
        }
    }

    /// Returns the digest of the token.
    #[must_use]
    pub fn digest(&self) -> &TokenDigest {
        &self.digest
    }

    /// Returns the ID of the key.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Returns the account of the key.
    #[must_use]
    pub fn account(&self) -> &AccountId {
        &self.shared.account.0.id
    }

    /// Returns the scopes, projects and networks of the key.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.shared.access
    }

    /// Returns the key's labels: names and values, in the order of the names.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.shared.labels.iter()
    }

    /// Returns the encoded fragment of a response that all keys with this account, access and labels share. `write`
    /// encodes it the first time, and each time if it is large: keeping it would double the memory of large keys.
    pub fn encoded(&self, write: impl FnOnce(&Self) -> Vec<u8>) -> Cow<'_, [u8]> {
        let kept = &self.shared.encoded.0;
        if let Some(fragment) = kept.get() {
            return Cow::Borrowed(fragment);
        }
        let fragment = write(self);
        if fragment.len() > KEPT_FRAGMENT_MAX {
            return Cow::Owned(fragment);
        }
        Cow::Borrowed(kept.get_or_init(|| fragment.into()))
    }

    /// Returns the first instant at which the key is no longer valid.
    #[must_use]
    pub fn expire_time(&self) -> Option<Timestamp> {
        self.expire_time.get()
    }

    /// Returns the first instant at which this version of the secret is no longer valid.
    pub(crate) fn retire_time(&self) -> Option<Timestamp> {
        self.retire_time.get()
    }

    /// Returns the first instant at which the token is no longer valid: the end of the key or of this version of its
    /// secret.
    #[must_use]
    pub fn end(&self) -> Option<Timestamp> {
        End(self.expire_time.0.min(self.retire_time.0)).get()
    }

    /// Returns when this replica last saw the version used, if ever.
    pub(crate) fn last_used_time(&self) -> Option<Timestamp> {
        self.last_used.get()
    }

    /// Returns the same if this is a version of that very key, and not of an earlier key with its ID or its token.
    pub(super) fn last_used_time_of(&self, key: &Key) -> Option<Timestamp> {
        let is_same = self.create_revision == key.create_revision && self.id == key.id;
        if is_same { self.last_used_time() } else { None }
    }

    /// Whether the token has ended for good: its key is revoked, its secret is retired, or it is quarantined.
    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        self.revoked || self.is_quarantined.load(Ordering::Acquire) || now.is_past(self.retire_time())
    }

    pub(super) fn release(&self) {
        self.is_quarantined.store(false, Ordering::Release);
    }

    /// Returns the time of the last use without a count; the count is flushed separately.
    pub(crate) fn last_use(&self) -> Option<UsageDelta> {
        let last_used_time = self.last_used_time()?;
        let Self { digest, create_revision, .. } = *self;
        Some(UsageDelta { key_id: self.id().clone(), digest, create_revision, count: 0, last_used_time })
    }
}
