//! Why a change is not made: a field that breaks a rule, or a state or policy that does not allow it.

use std::time::Duration;

use crate::text::ValidationError;
use crate::time::Timestamp;

/// A change that policy or state does not allow. The same request may be allowed later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The account holds as many keys as its policy allows.
    #[error(
        "the account has {max} {}, the most its policy allows; {} to make room",
        if *.active_only { "active keys" } else { "keys" },
        if *.active_only { "revoke, disable or delete one" } else { "delete one" }
    )]
    KeyLimitReached {
        /// The policy's `max_keys`.
        max: u32,
        /// Whether only active keys count.
        active_only: bool,
    },
    /// The key was used within the policy's `recently_used_window`.
    #[error("the key was last used at {last_used_time}; set allow_recently_used to delete it all the same")]
    KeyRecentlyUsed {
        /// When it last passed Verify.
        last_used_time: Timestamp,
    },
    /// The key is revoked, for good.
    #[error("the key is revoked, which is for good; create another")]
    KeyRevoked,
    /// The key has expired, and the request does not say until when it shall live.
    #[error("the key has expired; name a lifetime, an expire_time or never_expires to renew it")]
    KeyExpired,
    /// The key does not pass, so nothing can be done with it.
    #[error("the key is not active, so nothing can be connected with it; name another, or none")]
    KeyNotActive,
    /// The expiry asked for is not one the policy allows.
    #[error("the account's policy does not allow this expiry: {allowed}")]
    LifetimeNotAllowed {
        /// What it allows, in words.
        allowed: String,
    },
    /// The account's policy does not keep tokens.
    #[error("the token is not kept: the account's policy is not recoverable, or was not when the token was made")]
    NotRecoverable,
    /// The overlap asked for is longer than the policy allows.
    #[error("the account's policy allows an overlap of at most {} seconds", .max.as_secs())]
    OverlapNotAllowed {
        /// The policy's `max_overlap`.
        max: Duration,
    },
    /// As many secrets as a key remembers are still passing.
    #[error("ten tokens of the key still pass; wait until an overlap is over, or renew without one")]
    SecretLimitReached,
    /// The projects asked for are not what the policy's `project_rule` allows.
    #[error("the account's policy does not allow these projects: {rule}")]
    ProjectsNotAllowed {
        /// The rule, in words.
        rule: &'static str,
    },
    /// Only an account without keys can be deleted.
    #[error("the account still has keys; delete them first")]
    AccountNotEmpty,
    /// The account `system` holds the callers' keys; it can be neither suspended nor deleted, and only the authority makes
    /// tokens for it.
    #[error(
        "the account system is reserved: it can be neither created, suspended nor deleted, and no keys are imported into it"
    )]
    AccountReserved,
    /// A suspended account gets no new keys.
    #[error("the account is suspended; resume it first")]
    AccountSuspended,
}

impl PolicyError {
    /// The name of the reason, as `ErrorInfo.reason` has it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::KeyLimitReached { .. } => "KEY_LIMIT_REACHED",
            Self::KeyRecentlyUsed { .. } => "KEY_RECENTLY_USED",
            Self::KeyRevoked => "KEY_REVOKED",
            Self::KeyExpired => "KEY_EXPIRED",
            Self::KeyNotActive => "KEY_NOT_ACTIVE",
            Self::LifetimeNotAllowed { .. } => "LIFETIME_NOT_ALLOWED",
            Self::NotRecoverable => "NOT_RECOVERABLE",
            Self::OverlapNotAllowed { .. } => "OVERLAP_NOT_ALLOWED",
            Self::SecretLimitReached => "SECRET_LIMIT_REACHED",
            Self::ProjectsNotAllowed { .. } => "PROJECTS_NOT_ALLOWED",
            Self::AccountNotEmpty => "ACCOUNT_NOT_EMPTY",
            Self::AccountReserved => "ACCOUNT_RESERVED",
            Self::AccountSuspended => "ACCOUNT_SUSPENDED",
        }
    }
}

/// Why a change is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// A field of the request breaks a rule: it will never be accepted as it is.
    #[error("{field} {rule}")]
    Invalid {
        /// The field, as the request names it.
        field: String,
        /// The rule it breaks.
        rule: ValidationError,
    },
    /// Policy or state does not allow the change.
    #[error(transparent)]
    Refused(#[from] PolicyError),
}

impl ChangeError {
    /// A rejection of `field` for breaking `rule`.
    pub fn invalid(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), rule: ValidationError::new(rule) }
    }
}

impl ValidationError {
    /// Names the field in which the rule was broken.
    #[must_use]
    pub fn in_field(self, field: impl Into<String>) -> ChangeError {
        ChangeError::Invalid { field: field.into(), rule: self }
    }
}
