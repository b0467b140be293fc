//! A key: a stable ID, one or more versions of its secret, its access and its lifecycle.
//!
//! ACTIVE ⇄ DISABLED; either → REVOKED, permanently. EXPIRED is not stored: it is computed from the time of each
//! request.
//!
//! An *active* key is in state ACTIVE and not expired; its account may still be suspended. *Counted* keys are those
//! that count towards the `max_keys` of the account's policy. *Resident* keys are those in a replica's index: all of
//! them.

mod labels;
mod request;
mod secret;
mod size;

use std::time::Duration;

pub use labels::{LABELS_MAX, Labels, check_labels};
pub use request::{KeyChange, NewKey};
pub use secret::{MintedSecret, Secret, effective_retire_time};
pub use size::{KEY_BYTES_MAX, KeyTexts};

use crate::access::Access;
use crate::account::{Account, CountedKeys, ExpiryChoice};
use crate::id::{AccountId, Actor, KeyId, Revision, Subject};
use crate::policy_error::{ChangeError, PolicyError};
use crate::time::{LIFETIME_MAX, LIFETIME_MIN, Timestamp};

/// Maximum number of secret versions that a key keeps. A renewal beyond it removes the oldest retired version: its
/// token is then unknown instead of expired.
pub const SECRETS_MAX: usize = 10;

/// A key with all its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The ID. It never changes.
    pub id: KeyId,
    /// The account that owns the key.
    pub account: AccountId,
    /// A name for people.
    pub display_name: String,
    /// A description for people.
    pub description: String,
    /// Scopes, projects and networks of the key.
    pub access: Access,
    /// The caller's metadata, returned by Verify.
    pub labels: Labels,
    /// Whether the key is disabled. A disabled key can be enabled again.
    pub disabled: bool,
    /// Time and reason of the revocation, if the key is revoked.
    pub revocation: Option<Revocation>,
    /// The first instant at which the key is expired. None: the key never expires.
    pub expire_time: Option<Timestamp>,
    /// Time of the creation.
    pub create_time: Timestamp,
    /// Time of the last change.
    pub update_time: Timestamp,
    /// The caller that created the key.
    pub created_by: Actor,
    /// The user of that caller's product who created the key, if it was created in a portal session.
    pub created_by_subject: Option<Subject>,
    /// The revision that created the key.
    pub create_revision: Revision,
    /// The revision that last changed the key. It is the etag.
    pub revision: Revision,
    /// The versions of the secret, oldest first; never empty.
    pub secrets: Vec<Secret>,
    /// Usage counters.
    pub usage: Usage,
}

/// The revocation of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Time of the revocation.
    pub time: Timestamp,
    /// Reason given by the caller. May be empty.
    pub reason: String,
}

/// How a key was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Time of the last successful Verify.
    pub last_used_time: Option<Timestamp>,
    /// Number of successful Verify calls.
    pub use_count: u64,
}

/// The state of a key at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyState {
    /// The key is valid.
    Active,
    /// Disabled. The key can be enabled again.
    Disabled,
    /// Revoked, permanently.
    Revoked,
    /// Expired.
    Expired,
}

impl Key {
    /// Creates a key in `account`, if the account's policy allows it. The limit on the number of keys is checked
    /// separately: see [`crate::account::KeyPolicy::check_room`].
    ///
    /// # Errors
    /// The field or the policy that forbids the key.
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
        let expire_time = policy.lifetimes.choose(check_expiry(new.expiry, now)?, now)?;
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
            created_by_subject: new.created_by_subject,
            create_revision: revision,
            revision,
            secrets: vec![minted.into_secret(1, now)],
            usage: Usage::default(),
        })
    }

    /// The state at `now`. If several apply, the first of REVOKED, DISABLED, EXPIRED is returned.
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

    /// Whether the key counts towards the account's `max_keys` at `now`.
    #[must_use]
    pub fn is_counted(&self, counted: CountedKeys, now: Timestamp) -> bool {
        counted == CountedKeys::All || self.state(now) == KeyState::Active
    }

    /// The newest version of the secret.
    #[must_use]
    pub fn newest_secret(&self) -> Option<&Secret> {
        self.secrets.last()
    }

    /// The texts that the caller chose.
    #[must_use]
    pub fn texts(&self) -> KeyTexts<'_> {
        KeyTexts {
            display_name: &self.display_name,
            description: &self.description,
            scopes: &self.access.scopes,
            projects: Some(&self.access.projects),
            labels: &self.labels,
            networks: &self.access.networks,
        }
    }

    /// Applies `change`. A key that is larger than [`KEY_BYTES_MAX`] must not grow.
    ///
    /// # Errors
    /// `KEY_REVOKED`, or the field or policy that forbids the change. The key is then changed in part, so drop it.
    pub fn update(&mut self, account: &Account, change: KeyChange, now: Timestamp) -> Result<(), ChangeError> {
        self.check_not_revoked()?;
        let bytes_before = self.texts().bytes();
        // The policy is checked only for values that change: a key that predates a change of policy can still be
        // edited.
        if let Some(name) = change.display_name.filter(|name| *name != self.display_name) {
            account.policy.check_display_name(&name)?;
            self.display_name = name;
        }
        if let Some(projects) = change.projects.filter(|wanted| wanted.as_ref() != Some(&self.access.projects)) {
            self.access.projects = account.policy.choose_projects(projects)?;
        }
        if let Some(end) = change.expire_time.filter(|end| *end != self.expire_time) {
            let choice = end.map_or(ExpiryChoice::Never, ExpiryChoice::At);
            self.expire_time = account.policy.lifetimes.choose(check_expiry(choice, now)?, self.create_time)?;
        }
        self.description = change.description.unwrap_or_else(|| std::mem::take(&mut self.description));
        self.access.scopes = change.scopes.unwrap_or_else(|| std::mem::take(&mut self.access.scopes));
        self.access.networks = change.networks.unwrap_or_else(|| std::mem::take(&mut self.access.networks));
        self.labels = change.labels.unwrap_or_else(|| std::mem::take(&mut self.labels));
        self.texts().check(bytes_before).map_err(|(field, rule)| rule.in_field(field))
    }

    /// Disables the key. It has no effect on a disabled key.
    ///
    /// # Errors
    /// `KEY_REVOKED`.
    pub fn disable(&mut self) -> Result<(), PolicyError> {
        self.check_not_revoked()?;
        self.disabled = true;
        Ok(())
    }

    /// Enables the key. It has no effect on an enabled key.
    ///
    /// # Errors
    /// `KEY_REVOKED`.
    pub fn enable(&mut self) -> Result<(), PolicyError> {
        self.check_not_revoked()?;
        self.disabled = false;
        Ok(())
    }

    /// Revokes the key permanently. A key that is already revoked keeps its first time and reason.
    pub fn revoke(&mut self, reason: String, now: Timestamp) {
        self.revocation.get_or_insert(Revocation { time: now, reason });
    }

    /// Adds a new version of the secret. Older versions stay valid for `overlap`, but never longer than before.
    ///
    /// # Errors
    /// `KEY_REVOKED`, `KEY_EXPIRED`, or the policy that forbids the renewal.
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
        match check_expiry(expiry, now)? {
            ExpiryChoice::Unspecified if now.is_past(self.expire_time) => return Err(PolicyError::KeyExpired.into()),
            ExpiryChoice::Unspecified => {}
            choice => self.expire_time = account.policy.lifetimes.choose(choice, now)?,
        }
        let retire_time = now.after(overlap);
        for secret in &mut self.secrets {
            secret.retire_time = Some(secret.retire_time.map_or(retire_time, |earlier| earlier.min(retire_time)));
            secret.retired |= now.is_past(secret.retire_time);
        }
        // Only retired versions are removed: a version within its overlap must stay valid.
        while self.secrets.len() >= SECRETS_MAX {
            let retired = self.secrets.iter().position(|secret| secret.retired);
            self.secrets.remove(retired.ok_or(PolicyError::SecretLimitReached)?);
        }
        let version = self.newest_secret().map_or(1, |newest| newest.version.saturating_add(1));
        self.secrets.push(minted.into_secret(version, now));
        Ok(())
    }

    /// Checks that the key may be deleted.
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

/// Rejects an expiry that is in the past or further ahead than the longest lifetime.
fn check_expiry(choice: ExpiryChoice, now: Timestamp) -> Result<ExpiryChoice, ChangeError> {
    match choice {
        ExpiryChoice::At(end) if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&end.since(now)) => {
            Err(ChangeError::invalid("expire_time", "must be 1 second to 100 years ahead"))
        }
        choice => Ok(choice),
    }
}

#[cfg(test)]
pub(crate) mod tests;
