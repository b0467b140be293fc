//! A key, as pages show it.

use std::borrow::Cow;
use std::fmt;

use key_authority_domain::time::Timestamp;
use key_authority_proto::v1::{Key, KeyState};

use super::events::actor_href;
use crate::console::show::{self, When};

/// What Verify thinks of a key, in a word for pages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Key(KeyState),
    /// The key is active, and yet denied.
    AccountSuspended,
}

impl Status {
    /// Returns the name of the class of the stylesheet.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Key(KeyState::Active) => "on",
            Self::Key(KeyState::Disabled) | Self::AccountSuspended => "off",
            Self::Key(KeyState::Revoked | KeyState::Expired | KeyState::Unspecified) => "gone",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str(match self {
            Self::Key(key) => state(*key),
            Self::AccountSuspended => "Account suspended",
        })
    }
}

/// A key, as pages show it.
#[derive(Clone)]
pub(super) struct KeyView {
    pub(super) id: String,
    pub(super) href: String,
    pub(super) account: String,
    /// The name, or the ID of a key without one.
    pub(super) name: String,
    pub(super) description: String,
    pub(super) hint: String,
    pub(super) state: Status,
    pub(super) is_active: bool,
    pub(super) is_disabled: bool,
    pub(super) is_revoked: bool,
    pub(super) scopes: Vec<String>,
    /// The projects: a number, or "all".
    pub(super) projects: String,
    pub(super) project_names: Vec<String>,
    pub(super) networks: Vec<String>,
    /// Each as `name=value`.
    pub(super) labels: Vec<String>,
    pub(super) last_used: Option<When>,
    pub(super) uses: String,
    pub(super) created: Option<When>,
    pub(super) created_by: String,
    /// The user of a product who created it; empty for none.
    pub(super) created_by_subject: String,
    /// The page of the key that created this one; empty for none.
    pub(super) created_by_href: String,
    pub(super) expires: Option<When>,
    pub(super) revoked: Option<When>,
    pub(super) revoke_reason: String,
    pub(super) secrets: Vec<SecretView>,
    /// The token that a search found, if it is not the newest one.
    pub(super) found: Option<SecretView>,
}

/// One secret of a key.
#[derive(Clone)]
pub(super) struct SecretView {
    pub(super) version: u32,
    pub(super) hint: String,
    pub(super) created: Option<When>,
    pub(super) last_used: Option<When>,
    pub(super) retires: Option<When>,
}

impl SecretView {
    /// Whether the token has ended before its key.
    pub(super) fn is_retired(&self) -> bool {
        self.retires.as_ref().is_some_and(|when| when.is_past)
    }
}

impl KeyView {
    /// Returns the name for a place where HTML has no element around it.
    pub(super) fn isolated_name(&self) -> Cow<'_, str> {
        show::isolated(&self.name)
    }

    pub(super) fn new(key: &Key, now: Timestamp) -> Self {
        let when = |time: Option<&prost_types::Timestamp>| When::of(time, now);
        let projects = key.projects.clone().unwrap_or_default();
        let name = if key.display_name.trim().is_empty() { &key.id } else { &key.display_name };
        let mut labels: Vec<_> = key.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        labels.sort_unstable();
        let secrets = key.secrets.iter().map(|secret| SecretView {
            version: secret.version,
            hint: masked(&secret.token_hint),
            created: when(secret.create_time.as_ref()),
            last_used: when(secret.last_used_time.as_ref()),
            retires: when(secret.retire_time.as_ref()),
        });
        Self {
            id: key.id.clone(),
            href: show::path(&["keys", &key.id]),
            account: key.account.clone(),
            name: name.clone(),
            description: key.description.clone(),
            hint: masked(&key.token_hint),
            state: Status::Key(key.state()),
            is_active: key.state() == KeyState::Active,
            is_disabled: key.state() == KeyState::Disabled,
            is_revoked: key.state() == KeyState::Revoked,
            scopes: key.scopes.clone(),
            projects: if projects.all { "all".to_owned() } else { show::count(projects.only.len() as u64) },
            project_names: projects.only.clone(),
            networks: key.allowed_networks.clone(),
            labels,
            last_used: when(key.last_used_time.as_ref()),
            uses: show::count(key.use_count),
            created: when(key.create_time.as_ref()),
            created_by: key.created_by.clone(),
            created_by_subject: key.created_by_subject.clone(),
            created_by_href: actor_href(&key.created_by),
            expires: when(key.expire_time.as_ref()),
            revoked: when(key.revoke_time.as_ref()),
            revoke_reason: key.revoke_reason.clone(),
            secrets: secrets.collect(),
            found: None,
        }
    }

    /// Says what Verify answers for an active key if its account is suspended.
    pub(super) fn in_account(mut self, is_suspended: bool) -> Self {
        if is_suspended && self.is_active {
            self.state = Status::AccountSuspended;
        }
        self
    }

    /// Whether the key is active, and yet denied, because its account is suspended.
    pub(super) fn is_suspended(&self) -> bool {
        self.state == Status::AccountSuspended
    }

    /// Whether the key is revoked or has expired.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, Status::Key(KeyState::Revoked | KeyState::Expired))
    }

    /// Notes which token a search found, if it is not the one that a list shows.
    pub(super) fn found_by(mut self, search: &str) -> Self {
        if !search.is_empty() && !self.hint.starts_with(search) {
            self.found = self.secrets.iter().find(|secret| secret.hint.starts_with(search)).cloned();
        }
        self
    }
}

/// Returns the word for a state.
pub(super) const fn state(state: KeyState) -> &'static str {
    match state {
        KeyState::Active => "Active",
        KeyState::Disabled => "Disabled",
        KeyState::Revoked => "Revoked",
        KeyState::Expired => "Expired",
        KeyState::Unspecified => "Unknown",
    }
}

/// Returns a hint as the beginning of a masked token.
fn masked(hint: &str) -> String {
    if hint.is_empty() || hint.ends_with('…') { hint.to_owned() } else { format!("{hint}…") }
}
