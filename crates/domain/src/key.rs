//! A key: a stable ID, one or more versions of its secret, what it opens, and its life.
//!
//! ACTIVE ⇄ DISABLED; either → REVOKED, for good. EXPIRED is no stored state: it is judged whenever somebody asks.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::access::{Access, Network, ProjectAccess, Scope};
use crate::account::{Account, CountedKeys, ExpiryChoice};
use crate::foreign::Scheme;
use crate::id::{AccountId, Actor, KeyId, Revision};
use crate::policy_error::{ChangeError, PolicyError};
use crate::secret::SecretVersion;
use crate::text::{TextRule, ValidationError};
use crate::time::{LIFETIME_MAX, LIFETIME_MIN, Timestamp};
use crate::token::TokenDigest;

/// Most labels of a key.
pub const LABELS_MAX: usize = 64;
/// How many versions of its secret a key remembers. The oldest retired ones beyond are forgotten: their tokens are then
/// unknown, not expired.
pub const SECRETS_MAX: usize = 10;

const LABEL_VALUE: TextRule = TextRule::line(256);

/// A key, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name, for good.
    pub id: KeyId,
    /// Who owns it.
    pub account: AccountId,
    /// A label for people.
    pub display_name: String,
    /// More words for people.
    pub description: String,
    /// What it opens.
    pub access: Access,
    /// The caller's own notes, given back by Verify.
    pub labels: Labels,
    /// Whether it is switched off for now.
    pub disabled: bool,
    /// When and why it was revoked, if it was.
    pub revocation: Option<Revocation>,
    /// The first instant at which it no longer passes.
    pub expire_time: Option<Timestamp>,
    /// When it was created.
    pub create_time: Timestamp,
    /// When it was last changed.
    pub update_time: Timestamp,
    /// Who created it.
    pub created_by: Actor,
    /// The revision that created it.
    pub create_revision: Revision,
    /// The revision that last changed it; its etag.
    pub revision: Revision,
    /// The versions of its secret, oldest first; never empty.
    pub secrets: Vec<Secret>,
    /// How it has been used.
    pub usage: Usage,
}

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// Checks labels against their limits.
///
/// # Errors
/// The rule in words.
pub fn check_labels(labels: &Labels) -> Result<(), ValidationError> {
    if labels.len() > LABELS_MAX {
        return Err(ValidationError::new(format!("must be at most {LABELS_MAX} labels")));
    }
    let is_name = |name: &str| {
        (1..=63).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
    };
    if !labels.keys().all(|name| is_name(name)) {
        return Err(ValidationError::new("must have names of 1 to 63 ASCII letters, digits, '.', '_', '/' or '-'"));
    }
    labels.values().try_for_each(|value| {
        LABEL_VALUE.check(value).map_err(|rule| ValidationError::new(format!("must have values that each {rule}")))
    })
}

/// The end of a key by a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub time: Timestamp,
    /// Why, in somebody's words; may be empty.
    pub reason: String,
}

/// One version of a key's secret, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// 1 for the first, one more with each renewal.
    pub version: u32,
    /// What is kept of the token.
    pub digest: TokenDigest,
    /// What that was made of.
    pub scheme: Scheme,
    /// The version of the authority secret under which it was digested.
    pub secret_version: SecretVersion,
    /// What lists show of the token.
    pub hint: String,
    /// The token, sealed, where the policy is to keep it.
    pub sealed: Option<Vec<u8>>,
    /// When it was made.
    pub create_time: Timestamp,
    /// The first instant at which it no longer passes.
    pub retire_time: Option<Timestamp>,
    /// Whether it has ended for good, also for a clock that steps back below `retire_time`.
    pub retired: bool,
    /// When it last passed Verify.
    pub last_used_time: Option<Timestamp>,
}

impl Secret {
    /// The end that Verify goes by: [`Timestamp::MIN`] for a secret that has ended for good.
    #[must_use]
    pub fn effective_retire_time(&self) -> Option<Timestamp> {
        if self.retired { Some(Timestamp::MIN) } else { self.retire_time }
    }
}

/// What a token that was freshly minted, or imported, leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintedSecret {
    /// Its digest.
    pub digest: TokenDigest,
    /// What that was made of.
    pub scheme: Scheme,
    /// The version of the authority secret under which it was digested.
    pub secret_version: SecretVersion,
    /// What lists show of it.
    pub hint: String,
    /// The token, sealed, where the policy is to keep it.
    pub sealed: Option<Vec<u8>>,
}

/// How a key has been used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// When it last passed Verify.
    pub last_used_time: Option<Timestamp>,
    /// How often it has passed.
    pub use_count: u64,
}

/// What state a key is in, at some instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyState {
    /// It passes.
    Active,
    /// Switched off; may be switched on again.
    Disabled,
    /// Ended by somebody's will, for good.
    Revoked,
    /// Ended by time.
    Expired,
}

/// What a new key shall be.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its ID.
    pub id: KeyId,
    /// A label for people.
    pub display_name: String,
    /// More words for people.
    pub description: String,
    /// What it may do.
    pub scopes: std::collections::BTreeSet<Scope>,
    /// Where; None leaves it to the policy.
    pub projects: Option<ProjectAccess>,
    /// From where.
    pub networks: std::collections::BTreeSet<Network>,
    /// The caller's own notes.
    pub labels: Labels,
    /// Until when.
    pub expiry: ExpiryChoice,
    /// Whether it starts switched off.
    pub disabled: bool,
    /// Who makes it.
    pub created_by: Actor,
}

/// What shall change about a key. None leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct KeyChange {
    /// The label.
    pub display_name: Option<String>,
    /// The words.
    pub description: Option<String>,
    /// What it may do.
    pub scopes: Option<std::collections::BTreeSet<Scope>>,
    /// Where; `Some(None)` puts it back to what the policy says.
    pub projects: Option<Option<ProjectAccess>>,
    /// From where.
    pub networks: Option<std::collections::BTreeSet<Network>>,
    /// The caller's own notes.
    pub labels: Option<Labels>,
    /// Until when; `Some(None)` for ever.
    pub expire_time: Option<Option<Timestamp>>,
}

impl Key {
    /// Makes a key in `account`, if its policy allows it. Whether there is room for it is another question: see
    /// [`crate::account::KeyPolicy::check_room`].
    ///
    /// # Errors
    /// The field or the policy that forbids it.
    pub fn create(
        account: &Account,
        new: NewKey,
        minted: MintedSecret,
        now: Timestamp,
        revision: Revision,
    ) -> Result<Self, ChangeError> {
        let policy = &account.policy;
        if account.suspended {
            return Err(PolicyError::AccountSuspended.into());
        }
        policy.check_display_name(&new.display_name)?;
        let projects = policy.choose_projects(new.projects)?;
        let expire_time = policy.lifetimes.choose(future(new.expiry, now)?, now)?;
        Ok(Self {
            id: new.id,
            account: account.id.clone(),
            display_name: new.display_name,
            description: new.description,
            access: Access { scopes: new.scopes, projects, networks: new.networks },
            labels: new.labels,
            disabled: new.disabled,
            revocation: None,
            expire_time,
            create_time: now,
            update_time: now,
            created_by: new.created_by,
            create_revision: revision,
            revision,
            secrets: vec![minted.into_secret(1, now)],
            usage: Usage::default(),
        })
    }

    /// The state at `now`. Where several hold, the first of REVOKED, DISABLED, EXPIRED is told.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> KeyState {
        if self.revocation.is_some() {
            KeyState::Revoked
        } else if self.disabled {
            KeyState::Disabled
        } else if now.is_past(self.expire_time) {
            KeyState::Expired
        } else {
            KeyState::Active
        }
    }

    /// Whether it counts towards the account's `max_keys` at `now`.
    #[must_use]
    pub fn is_counted(&self, counted: CountedKeys, now: Timestamp) -> bool {
        counted == CountedKeys::All || self.state(now) == KeyState::Active
    }

    /// The newest version of its secret.
    #[must_use]
    pub fn newest_secret(&self) -> Option<&Secret> {
        self.secrets.last()
    }

    /// Changes what `change` names.
    ///
    /// # Errors
    /// `KEY_REVOKED`, or the field or policy that forbids it.
    pub fn update(&mut self, account: &Account, change: KeyChange, now: Timestamp) -> Result<(), ChangeError> {
        self.check_not_revoked()?;
        // What stays as it is is not judged again: a key from before a change of policy can still be edited.
        if let Some(name) = change.display_name.filter(|name| *name != self.display_name) {
            account.policy.check_display_name(&name)?;
            self.display_name = name;
        }
        if let Some(projects) = change.projects.filter(|wanted| wanted.as_ref() != Some(&self.access.projects)) {
            self.access.projects = account.policy.choose_projects(projects)?;
        }
        if let Some(end) = change.expire_time.filter(|end| *end != self.expire_time) {
            let choice = end.map_or(ExpiryChoice::Never, ExpiryChoice::At);
            self.expire_time = account.policy.lifetimes.choose(future(choice, now)?, self.create_time)?;
        }
        self.description = change.description.unwrap_or_else(|| std::mem::take(&mut self.description));
        self.access.scopes = change.scopes.unwrap_or_else(|| std::mem::take(&mut self.access.scopes));
        self.access.networks = change.networks.unwrap_or_else(|| std::mem::take(&mut self.access.networks));
        self.labels = change.labels.unwrap_or_else(|| std::mem::take(&mut self.labels));
        Ok(())
    }

    /// Switches it off. It stays off when it was.
    ///
    /// # Errors
    /// `KEY_REVOKED`.
    pub fn disable(&mut self) -> Result<(), PolicyError> {
        self.check_not_revoked()?;
        self.disabled = true;
        Ok(())
    }

    /// Switches it on. It stays on when it was.
    ///
    /// # Errors
    /// `KEY_REVOKED`.
    pub fn enable(&mut self) -> Result<(), PolicyError> {
        self.check_not_revoked()?;
        self.disabled = false;
        Ok(())
    }

    /// Ends it, for good. The first time and reason stay when it was revoked before.
    pub fn revoke(&mut self, reason: String, now: Timestamp) {
        self.revocation.get_or_insert(Revocation { time: now, reason });
    }

    /// Gives it a new secret. The older ones pass for `overlap` more, and never longer than they would have.
    ///
    /// # Errors
    /// `KEY_REVOKED`, `KEY_EXPIRED`, or the policy that forbids it.
    pub fn renew(
        &mut self,
        account: &Account,
        minted: MintedSecret,
        overlap: Duration,
        expiry: ExpiryChoice,
        now: Timestamp,
    ) -> Result<(), ChangeError> {
        self.check_not_revoked()?;
        if account.suspended {
            return Err(PolicyError::AccountSuspended.into());
        }
        account.policy.check_overlap(overlap)?;
        match future(expiry, now)? {
            ExpiryChoice::Unsaid if now.is_past(self.expire_time) => return Err(PolicyError::KeyExpired.into()),
            ExpiryChoice::Unsaid => {}
            choice => self.expire_time = account.policy.lifetimes.choose(choice, now)?,
        }
        let retire_time = now.after(overlap);
        for secret in &mut self.secrets {
            secret.retire_time = Some(secret.retire_time.map_or(retire_time, |earlier| earlier.min(retire_time)));
            secret.retired |= now.is_past(secret.retire_time);
        }
        // Only what is over is forgotten: an overlap that was promised is kept.
        while self.secrets.len() >= SECRETS_MAX {
            let over = self.secrets.iter().position(|secret| secret.retired);
            self.secrets.remove(over.ok_or(PolicyError::SecretLimitReached)?);
        }
        let version = self.newest_secret().map_or(1, |newest| newest.version.saturating_add(1));
        self.secrets.push(minted.into_secret(version, now));
        Ok(())
    }

    /// Checks that it may be deleted.
    ///
    /// # Errors
    /// `KEY_RECENTLY_USED`.
    pub fn check_delete(
        &self,
        account: &Account,
        allow_recently_used: bool,
        now: Timestamp,
    ) -> Result<(), PolicyError> {
        match (account.policy.recently_used_window, self.usage.last_used_time) {
            (Some(window), Some(last_used_time)) if !allow_recently_used && now.before(window) < last_used_time => {
                Err(PolicyError::KeyRecentlyUsed { last_used_time })
            }
            _ => Ok(()),
        }
    }

    fn check_not_revoked(&self) -> Result<(), PolicyError> {
        if self.revocation.is_some() { Err(PolicyError::KeyRevoked) } else { Ok(()) }
    }
}

/// An expiry that is past already is a mistake, not a wish, and so is one beyond a lifetime.
fn future(choice: ExpiryChoice, now: Timestamp) -> Result<ExpiryChoice, ChangeError> {
    match choice {
        ExpiryChoice::At(end) if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&end.since(now)) => {
            Err(ChangeError::invalid("expire_time", "must be 1 second to 100 years ahead"))
        }
        choice => Ok(choice),
    }
}

impl MintedSecret {
    fn into_secret(self, version: u32, now: Timestamp) -> Secret {
        Secret {
            version,
            digest: self.digest,
            scheme: self.scheme,
            secret_version: self.secret_version,
            hint: self.hint,
            sealed: self.sealed,
            create_time: now,
            retire_time: None,
            retired: false,
            last_used_time: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{KeyPolicy, LifetimeRule};
    use crate::text::DISPLAY_NAME;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    fn account(policy: KeyPolicy) -> Account {
        Account {
            id: AccountId::new("acme").unwrap(),
            display_name: String::new(),
            suspended: false,
            policy,
            create_time: NOW,
            update_time: NOW,
            create_revision: Revision(1),
            revision: Revision(1),
        }
    }

    fn minted(byte: u8) -> MintedSecret {
        let (digest, scheme) = (TokenDigest([byte; 32]), Scheme::Own);
        MintedSecret { digest, scheme, secret_version: 1, hint: "key_aaaa".into(), sealed: None }
    }

    fn new_key(expiry: ExpiryChoice) -> NewKey {
        NewKey {
            id: KeyId::new("key_1").unwrap(),
            display_name: "ci".into(),
            description: String::new(),
            scopes: [].into(),
            projects: None,
            networks: [].into(),
            labels: Labels::new(),
            expiry,
            disabled: false,
            created_by: Actor::bootstrap(),
        }
    }

    fn key(expiry: ExpiryChoice) -> Key {
        Key::create(&account(KeyPolicy::default()), new_key(expiry), minted(1), NOW, Revision(2)).unwrap()
    }

    #[test]
    fn a_key_expires_at_the_exact_instant() {
        let key = key(ExpiryChoice::Lifetime(HOUR));
        let end = NOW.after(HOUR);
        assert_eq!(key.state(end.before(Duration::from_micros(1))), KeyState::Active);
        assert_eq!(key.state(end), KeyState::Expired);
    }

    #[test]
    fn an_expiry_in_the_past_is_a_mistake() {
        let error =
            Key::create(&account(KeyPolicy::default()), new_key(ExpiryChoice::At(NOW)), minted(1), NOW, Revision(2));
        assert_eq!(error.unwrap_err().to_string(), "expire_time must be 1 second to 100 years ahead");
    }

    #[test]
    fn revoked_is_for_good_and_the_first_reason_stays() {
        let mut key = key(ExpiryChoice::Never);
        key.disable().unwrap();
        key.revoke("leaked".into(), NOW);
        key.revoke("again".into(), NOW.after(HOUR));
        assert_eq!(key.revocation, Some(Revocation { time: NOW, reason: "leaked".into() }));
        assert_eq!(key.enable(), Err(PolicyError::KeyRevoked));
        assert_eq!(key.state(NOW), KeyState::Revoked);
    }

    #[test]
    fn renewing_without_overlap_retires_the_old_secret_now() {
        let account = account(KeyPolicy::default());
        let mut key = key(ExpiryChoice::Never);
        key.renew(&account, minted(2), HOUR, ExpiryChoice::Unsaid, NOW).unwrap();
        assert_eq!(key.secrets[0].retire_time, Some(NOW.after(HOUR)));
        key.renew(&account, minted(3), Duration::ZERO, ExpiryChoice::Unsaid, NOW).unwrap();
        assert_eq!(key.secrets.iter().map(|s| s.retire_time).collect::<Vec<_>>(), [Some(NOW), Some(NOW), None]);
        assert_eq!(key.secrets.iter().map(|s| s.version).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(key.secrets.iter().map(|s| s.retired).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn a_retired_secret_stays_retired_when_the_clock_steps_back() {
        let account = account(KeyPolicy::default());
        let mut key = key(ExpiryChoice::Never);
        key.renew(&account, minted(2), Duration::ZERO, ExpiryChoice::Unsaid, NOW).unwrap();
        assert_eq!(key.secrets[0].effective_retire_time(), Some(Timestamp::MIN));
        key.renew(&account, minted(3), HOUR, ExpiryChoice::Unsaid, NOW.before(HOUR)).unwrap();
        assert_eq!(key.secrets[0].effective_retire_time(), Some(Timestamp::MIN));
        assert_eq!(key.secrets[1].effective_retire_time(), Some(NOW));
    }

    #[test]
    fn an_expired_key_is_renewed_only_with_a_new_expiry() {
        let account = account(KeyPolicy::default());
        let mut key = key(ExpiryChoice::Lifetime(HOUR));
        let later = NOW.after(HOUR * 2);
        let refused = key.renew(&account, minted(2), Duration::ZERO, ExpiryChoice::Unsaid, later);
        assert_eq!(refused, Err(PolicyError::KeyExpired.into()));
        key.renew(&account, minted(2), Duration::ZERO, ExpiryChoice::Lifetime(HOUR), later).unwrap();
        assert_eq!(key.state(later), KeyState::Active);
    }

    #[test]
    fn old_secrets_are_forgotten_beyond_the_limit() {
        let account = account(KeyPolicy::default());
        let mut key = key(ExpiryChoice::Never);
        for n in 2..=20 {
            key.renew(&account, minted(n), Duration::ZERO, ExpiryChoice::Unsaid, NOW).unwrap();
        }
        assert_eq!(key.secrets.len(), SECRETS_MAX);
        assert_eq!(key.newest_secret().unwrap().version, 20);
    }

    #[test]
    fn a_promised_overlap_is_kept_and_one_secret_too_many_is_refused() {
        let account = account(KeyPolicy::default());
        let mut key = key(ExpiryChoice::Never);
        let mut renew = |n, now| key.renew(&account, minted(n), HOUR, ExpiryChoice::Unsaid, now);
        for n in 2..=10 {
            renew(n, NOW).unwrap();
        }
        assert_eq!(renew(11, NOW), Err(PolicyError::SecretLimitReached.into()));
        renew(11, NOW.after(HOUR)).unwrap();
    }

    #[test]
    fn a_recently_used_key_is_deleted_only_on_insistence() {
        let account = account(KeyPolicy { recently_used_window: Some(HOUR), ..KeyPolicy::default() });
        let mut key = key(ExpiryChoice::Never);
        assert!(key.check_delete(&account, false, NOW).is_ok());
        key.usage.last_used_time = Some(NOW);
        assert!(key.check_delete(&account, false, NOW.after(HOUR).before(Duration::from_micros(1))).is_err());
        assert!(key.check_delete(&account, true, NOW).is_ok());
        assert!(key.check_delete(&account, false, NOW.after(HOUR)).is_ok());
    }

    #[test]
    fn changes_follow_the_policy_and_what_stays_is_not_judged_again() {
        let lifetimes = LifetimeRule::new([HOUR].into(), None, None).unwrap();
        let account = account(KeyPolicy { lifetimes, ..KeyPolicy::default() });
        let mut key = key(ExpiryChoice::Lifetime(HOUR));
        let change = |end| KeyChange { expire_time: Some(end), ..KeyChange::default() };
        assert!(key.update(&account, change(None), NOW).is_err());
        assert!(key.update(&account, change(Some(NOW.after(HOUR * 2))), NOW).is_err());
        assert!(key.update(&account, change(Some(NOW.after(HOUR))), NOW).is_ok());
        key.expire_time = None;
        assert!(key.update(&account, change(None), NOW).is_ok());
    }

    #[test]
    fn labels_and_names_have_limits() {
        let label = |name: &str, value: &str| check_labels(&Labels::from([(name.into(), value.into())]));
        assert!(label("team/a", "x y").is_ok());
        assert!(label("", "x").is_err() && label("a b", "x").is_err() && label("a", "\n").is_err());
        assert!(DISPLAY_NAME.check("laptop/claude-desktop").is_ok());
    }
}
