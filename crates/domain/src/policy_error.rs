//! Errors of changes: an invalid field, or a state or policy that does not allow the change.

use std::time::Duration;

use crate::text::ValidationError;
use crate::time::Timestamp;

/// A state or policy does not allow the change. The same request may be allowed later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The account has the maximum number of keys.
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
    #[error("the key was last used at {last_used_time}; set allow_recently_used to delete it anyway")]
    KeyRecentlyUsed {
        /// Time of the last successful Verify.
        last_used_time: Timestamp,
    },
    /// The key is permanently revoked.
    #[error("the key is revoked, which is permanent; create another key")]
    KeyRevoked,
    /// The key has expired, and the request sets no new expiry.
    #[error("the key has expired; set lifetime, expire_time or never_expires to renew it")]
    KeyExpired,
    /// The key is not active, so it can neither connect a client nor be renewed by its holder.
    #[error("the key is disabled, revoked or expired, so it cannot be used for this; use another key")]
    KeyNotActive,
    /// The policy does not allow the requested expiry.
    #[error("the account's policy does not allow this expiry: {allowed}")]
    LifetimeNotAllowed {
        /// Description of what the policy allows.
        allowed: String,
    },
    /// The token is not stored, because the account's policy is not recoverable.
    #[error("the token is not stored: the account's policy is not recoverable, or was not when the token was created")]
    NotRecoverable,
    /// The requested overlap is longer than the policy allows.
    #[error("the account's policy allows an overlap of at most {} seconds", .max.as_secs())]
    OverlapNotAllowed {
        /// The policy's `max_overlap`.
        max: Duration,
    },
    /// The maximum number of secret versions is still valid.
    #[error("ten tokens of the key are still valid; wait until an overlap ends, or renew without an overlap")]
    SecretLimitReached,
    /// The policy's `project_rule` does not allow the requested projects.
    #[error("the account's policy does not allow these projects: {rule}")]
    ProjectsNotAllowed {
        /// Description of the rule.
        rule: &'static str,
    },
    /// The account has keys. Only an account without keys can be deleted.
    #[error("the account still has keys; delete them first")]
    AccountNotEmpty,
    /// The account `system` contains the callers' keys. It can be neither suspended nor deleted, and only the authority
    /// mints its tokens.
    #[error(
        "the account system is reserved: it can be neither created, suspended nor deleted, and only the authority makes \
         its tokens"
    )]
    AccountReserved,
    /// The account's policy does not allow tokens that callers make.
    #[error("the account's policy does not allow tokens that callers make; leave blake3 and sha256 out")]
    DigestNotAllowed,
    /// The account's policy does not allow holders to renew their keys.
    #[error("the account's policy does not allow holders to renew their keys; call RenewKey")]
    HolderMayNotRenew,
    /// The holder renews its key from an address from which the key may not be used.
    #[error("the key may not be used from the address in client_ip, or none was given")]
    HolderNetworkDenied,
    /// The account is suspended, so it gets no new keys.
    #[error("the account is suspended; resume it first")]
    AccountSuspended,
}

impl PolicyError {
    /// The reason for `ErrorInfo.reason`.
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
            Self::DigestNotAllowed => "DIGEST_NOT_ALLOWED",
            Self::HolderMayNotRenew => "HOLDER_MAY_NOT_RENEW",
            Self::HolderNetworkDenied => "HOLDER_NETWORK_DENIED",
            Self::AccountSuspended => "ACCOUNT_SUSPENDED",
        }
    }
}

/// The error of a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// A field of the request is invalid. The same request is never accepted.
    #[error("{field} {rule}")]
    Invalid {
        /// Name of the field in the request.
        field: String,
        /// The rule that the field breaks.
        rule: ValidationError,
    },
    /// Policy or state does not allow the change.
    #[error(transparent)]
    Refused(#[from] PolicyError),
}

impl ChangeError {
    /// Creates an error: `field` breaks `rule`.
    pub fn invalid(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), rule: ValidationError::new(rule) }
    }
}

impl ValidationError {
    /// Adds the name of the field.
    #[must_use]
    pub fn in_field(self, field: impl Into<String>) -> ChangeError {
        ChangeError::Invalid { field: field.into(), rule: self }
    }
}
