//! Why a call fails, and the one table that turns it into a status.
//!
//! A verdict is no failure. Each status carries `ErrorInfo{reason, domain}`; what the caller reads and what the log keeps
//! are separate: the cause of an outage goes to the log alone, once, here.

use key_authority_domain::id::{AccountId, KeyId, Revision};
use key_authority_domain::permission::Permission;
use key_authority_domain::policy_error::{ChangeError, PolicyError};
use key_authority_domain::time::Timestamp;
use key_authority_domain::verdict::Verdict;
use key_authority_replica::NoLease;
use key_authority_storage::StorageError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::entropy::EntropyError;
use crate::observability::error_chain::causes;
use crate::wire::violations::Violations;

/// The domain of every `ErrorInfo`.
pub(crate) const ERROR_DOMAIN: &str = "keyauthority";

/// Why a call fails.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// Fields of the request break their rules.
    #[error("the request is not valid")]
    Invalid(Violations),
    /// The caller's token is missing, malformed, unknown, or of a key that does not pass.
    #[error("the caller is not known")]
    Unauthenticated(&'static str),
    /// The caller's key has ended: what a question about its token would be answered.
    #[error("the caller's key has ended")]
    CallerEnded(Verdict),
    /// The caller's key may not be used from where the call comes from.
    #[error("the caller's key may not be used from this address")]
    CallerNetworkDenied,
    /// The caller's key has not the permission.
    #[error("the caller's key has not the permission {0}")]
    PermissionMissing(Permission),
    /// The caller's key covers no account.
    #[error("the caller's key covers no account")]
    NoAccounts,
    /// A key of account `system` would hold more than the caller does.
    #[error("nobody grants more than they hold")]
    GrantExceedsCaller,
    /// There is no such key that the caller may know of.
    #[error("the key was not found")]
    KeyNotFound,
    /// There is no such account that the caller may know of.
    #[error("the account was not found")]
    AccountNotFound,
    /// The ID is taken.
    #[error(
        "the key ID {0} is taken, or was before: an ID is used once; choose another, or leave it out for a generated one"
    )]
    KeyExists(KeyId),
    /// Another key has the token that was to be imported.
    #[error("the token is another key's, or stands in this message before")]
    TokenExists,
    /// The ID is taken.
    #[error("the account ID {0} is taken, or was before: an ID is used once; choose another")]
    AccountExists(AccountId),
    /// The request ID was used for another request.
    #[error("the request ID was used for a request with other parameters")]
    RequestIdReused,
    /// A replica of an older build would misread the change.
    #[error("a replica runs an older build that would misread this change; repeat it when all replicas are upgraded")]
    ReplicasDiffer,
    /// The thing was changed since it was read.
    #[error("the etag is not the current one")]
    EtagMismatch,
    /// Policy or state does not allow the change.
    #[error(transparent)]
    Refused(#[from] PolicyError),
    /// The facts cannot be had, or not be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The change stands, and the caller's deadline passes before every replica is known to have it.
    #[error("revision {revision} was committed, and is not known to be everywhere yet")]
    NotYetEverywhere {
        /// The change.
        revision: Revision,
        /// From when on no replica can be without it and answer.
        safe_after: Timestamp,
    },
    /// This replica cannot tell.
    #[error(transparent)]
    NoLease(#[from] NoLease),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The answer to a batch would be larger than clients read.
    #[error("the answer would be larger than 4 MiB; ask in smaller batches")]
    AnswerTooLarge,
    /// The call took longer than its deadline.
    #[error("the call took longer than its deadline")]
    TooLate,
    /// Nothing of this name has a health.
    #[error("no service of this name has a health")]
    HealthUnknown,
    /// Too many clients watch the health.
    #[error("too many watches are open; Check still answers")]
    TooManyWatches,
    /// A kept token does not open, although the authority secret is the right one.
    #[error("a kept token does not open")]
    SealBroken,
}

impl From<Violations> for RpcError {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}

impl From<ChangeError> for RpcError {
    fn from(rejection: ChangeError) -> Self {
        match rejection {
            ChangeError::Invalid { field, rule } => Self::Invalid(Violations::one(field, rule.as_str())),
            ChangeError::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

impl RpcError {
    /// A field that breaks a rule.
    #[must_use]
    pub fn invalid(field: &str, rule: &str) -> Self {
        Self::Invalid(Violations::one(field, rule))
    }

    /// The same failure of a field of the message in field `path`.
    #[must_use]
    pub fn within(self, path: &str) -> Self {
        match self {
            Self::Invalid(violations) => Self::Invalid(violations.within(path)),
            failure => failure,
        }
    }

    /// Code and reason: the table.
    #[must_use]
    pub fn code(&self) -> (Code, &'static str) {
        match self {
            Self::Invalid(_) => (Code::InvalidArgument, "FIELD_INVALID"),
            Self::Unauthenticated(_) | Self::CallerEnded(_) => (Code::Unauthenticated, "CALLER_UNKNOWN"),
            Self::CallerNetworkDenied => (Code::PermissionDenied, "CALLER_NETWORK_DENIED"),
            Self::PermissionMissing(_) => (Code::PermissionDenied, "PERMISSION_MISSING"),
            Self::NoAccounts => (Code::PermissionDenied, "CALLER_COVERS_NO_ACCOUNT"),
            Self::GrantExceedsCaller => (Code::PermissionDenied, "GRANT_EXCEEDS_CALLER"),
            Self::KeyNotFound => (Code::NotFound, "KEY_NOT_FOUND"),
            Self::AccountNotFound => (Code::NotFound, "ACCOUNT_NOT_FOUND"),
            Self::KeyExists(_) => (Code::AlreadyExists, "KEY_EXISTS"),
            Self::TokenExists => (Code::AlreadyExists, "TOKEN_EXISTS"),
            Self::AccountExists(_) => (Code::AlreadyExists, "ACCOUNT_EXISTS"),
            Self::RequestIdReused => (Code::AlreadyExists, "REQUEST_ID_REUSED"),
            Self::ReplicasDiffer => (Code::FailedPrecondition, "REPLICAS_DIFFER"),
            Self::EtagMismatch => (Code::Aborted, "ETAG_MISMATCH"),
            Self::Refused(refusal) => (Code::FailedPrecondition, refusal.reason()),
            Self::NotYetEverywhere { .. } => (Code::DeadlineExceeded, "PROPAGATION_PENDING"),
            Self::NoLease(_) => (Code::Unavailable, "LEASE_EXPIRED"),
            Self::Storage(error) => match error {
                StorageError::OutcomeUnknown(_) => (Code::Unavailable, "OUTCOME_UNKNOWN"),
                StorageError::Unavailable(_)
                | StorageError::TimedOut
                | StorageError::ReadOnly
                | StorageError::Conflict(_)
                | StorageError::CannotWrite(_)
                | StorageError::AuthenticationFailed(_)
                | StorageError::NoDatabase(_) => (Code::Unavailable, "STORAGE_UNAVAILABLE"),
                StorageError::Corrupt { .. } => (Code::DataLoss, "ROW_CORRUPT"),
                StorageError::Refused(_) | StorageError::File(_) => (Code::Internal, "STORAGE_FAULT"),
            },
            Self::AnswerTooLarge => (Code::ResourceExhausted, "ANSWER_TOO_LARGE"),
            Self::TooLate => (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            Self::HealthUnknown => (Code::NotFound, "HEALTH_UNKNOWN"),
            Self::TooManyWatches => (Code::ResourceExhausted, "TOO_MANY_WATCHES"),
            Self::Entropy(_) => (Code::Internal, "NO_RANDOMNESS"),
            Self::SealBroken => (Code::DataLoss, "SEAL_BROKEN"),
        }
    }

    /// Whether it is about who asks, or what is asked; else it is about us, or the database.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        let faults = [Code::Unavailable, Code::DeadlineExceeded, Code::Internal, Code::DataLoss];
        !faults.contains(&self.code().0)
    }

    /// What the caller reads: what is wrong, and what to do about it.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Invalid(violations) => violations.to_string(),
            Self::Unauthenticated(why) => {
                format!("{why}; send `authorization: Bearer <token of a key of account system>`")
            }
            Self::CallerEnded(verdict) => match verdict {
                Verdict::Expired => {
                    "the caller's token has expired, or was ended by a renewal of its key; use the newest token".into()
                }
                Verdict::Disabled => "the caller's key is disabled".into(),
                Verdict::AccountSuspended => "account system is suspended".into(),
                _ => "the caller's key is revoked; use another".into(),
            },
            Self::PermissionMissing(permission) => {
                format!("the caller's key has not the scope {permission}, which this call needs")
            }
            Self::GrantExceedsCaller => {
                "a key of account system can be created, changed, renewed and deleted only by a caller that holds as much: its \
                 scopes, its accounts, for as long as the caller's token is valid, and within its networks; a token that a renewal \
                 has replaced grants nothing"
                    .into()
            }
            Self::KeyNotFound => "there is no such key, or not in an account that the caller's key covers".into(),
            Self::AccountNotFound => "there is no such account, or not one that the caller's key covers".into(),
            Self::RequestIdReused => {
                "this request_id was used for a request with other parameters; use a fresh one for each request".into()
            }
            Self::EtagMismatch => "it was changed since it was read; read it again and send the new etag".into(),
            Self::NotYetEverywhere { revision, safe_after } => format!(
                "the change was committed as revision {revision}, but the deadline came before every replica had it; call \
                 AwaitRevision with {revision}, or this again with the same request_id, or wait until {safe_after}"
            ),
            Self::NoLease(_) => "this replica cannot tell at the moment; ask again, or ask another".into(),
            Self::Storage(StorageError::OutcomeUnknown(_)) => {
                "outcome unknown, retry with the same request_id: it will be made once, or told".into()
            }
            Self::Storage(StorageError::ReadOnly) => "the database is read-only at the moment; nothing was changed, ask again".into(),
            Self::Storage(StorageError::Conflict(_)) => {
                "the database gave the change up in favour of others; nothing was changed, ask again".into()
            }
            Self::Storage(StorageError::CannotWrite(_)) => "the database cannot write; nothing was changed".into(),
            Self::Storage(
                StorageError::Unavailable(_)
                | StorageError::TimedOut
                | StorageError::AuthenticationFailed(_)
                | StorageError::NoDatabase(_),
            ) => "the database cannot be reached; nothing was changed, ask again".into(),
            Self::Storage(_) | Self::Entropy(_) | Self::SealBroken => "an internal fault; see the server's log".into(),
            Self::TooLate | Self::HealthUnknown | Self::TooManyWatches | Self::CallerNetworkDenied | Self::NoAccounts | Self::KeyExists(_) | Self::TokenExists | Self::ReplicasDiffer | Self::AccountExists(_) | Self::AnswerTooLarge | Self::Refused(_) => {
                self.to_string()
            }
        }
    }

    fn details(&self, reason: &str) -> ErrorDetails {
        let mut details = ErrorDetails::new();
        let mut metadata = std::collections::HashMap::new();
        match self {
            Self::Invalid(violations) => {
                for violation in violations {
                    details.add_bad_request_violation(violation.field.clone(), violation.rule.clone());
                }
            }
            Self::Refused(PolicyError::KeyRecentlyUsed { last_used_time }) => {
                metadata.insert("last_used_time".into(), last_used_time.to_string());
            }
            Self::Refused(PolicyError::KeyLimitReached { max, .. }) => {
                metadata.insert("max_keys".into(), max.to_string());
            }
            Self::CallerEnded(verdict) => {
                metadata.insert("verdict".into(), verdict.as_str().into());
            }
            Self::PermissionMissing(permission) => {
                metadata.insert("permission".into(), permission.to_string());
            }
            Self::NotYetEverywhere { revision, safe_after } => {
                metadata.insert("committed".into(), true.to_string());
                metadata.insert("revision".into(), revision.to_string());
                metadata.insert("safe_after".into(), safe_after.to_string());
            }
            _ => {}
        }
        details.set_error_info(reason, ERROR_DOMAIN, metadata);
        details
    }

    /// Keeps the cause of a failure that is ours, once.
    fn log(&self) {
        let is_fault = !matches!(self.code().0, Code::Unavailable);
        match self {
            Self::Storage(error) => {
                let cause = causes(error);
                if is_fault {
                    tracing::error!(error = %error, cause, "storage failed");
                } else {
                    tracing::warn!(error = %error, cause, "storage failed");
                }
            }
            Self::Entropy(_) | Self::SealBroken => {
                tracing::error!(error = %self, cause = causes(self), "internal fault");
            }
            _ => {}
        }
    }
}

impl From<RpcError> for Status {
    fn from(failure: RpcError) -> Self {
        failure.log();
        let (code, reason) = failure.code();
        Self::with_error_details(code, failure.message(), failure.details(reason))
    }
}

#[cfg(test)]
mod tests {
    /// Every reason as it stands in a table: in quotes, in capitals.
    fn reasons(source: &str) -> impl Iterator<Item = &str> {
        let is_reason =
            |text: &&str| text.len() > 2 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        source.split('"').filter(is_reason)
    }

    #[test]
    fn the_comment_of_the_service_names_every_reason() {
        let comment = include_str!("../../../../proto/keyauthority/v1/key_authority.proto");
        let ours = include_str!("errors.rs").split("mod tests").next().unwrap();
        let refusals = include_str!("../../../domain/src/policy_error.rs");
        // Those of the health service are not of this one.
        let of_health = ["HEALTH_UNKNOWN", "TOO_MANY_WATCHES"];
        let all: Vec<_> = reasons(ours).chain(reasons(refusals)).filter(|reason| !of_health.contains(reason)).collect();
        assert!(all.len() > 30, "{all:?}");
        for reason in all {
            let is_named = comment.split(|c: char| c != '_' && !c.is_ascii_uppercase()).any(|word| word == reason);
            assert!(is_named, "{reason} is not in the proto");
        }
    }
}
