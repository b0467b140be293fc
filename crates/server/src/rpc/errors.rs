//! The errors of calls, and the one table that turns an error into a status.
//!
//! A verdict is no error. Each status has `ErrorInfo{reason, domain}`. The message for the caller and the log line are
//! separate: only the log has the cause of an outage, once. `message` has the messages.

mod message;

use key_authority_domain::access::Scope;
use key_authority_domain::id::{AccountId, KeyId, Revision};
use key_authority_domain::permission::Permission;
use key_authority_domain::policy_error::{ChangeError, PolicyError};
use key_authority_domain::portal::PortalAction;
use key_authority_domain::time::Timestamp;
use key_authority_domain::verdict::Verdict;
use key_authority_replica::NoLease;
use key_authority_replica::index::SecretMissing;
use key_authority_storage::StorageError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::entropy::EntropyError;
use crate::observability::error_chain::causes;
use crate::transport::budget::OverBudget;
use crate::wire::violations::Violations;

/// The domain of every `ErrorInfo`.
pub(crate) const ERROR_DOMAIN: &str = "keyauthority";

/// How many scopes a status names. A request can have 100, of 128 characters each.
const SCOPES_NAMED_MAX: usize = 5;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// Fields of the request violate their rules.
    #[error("invalid request")]
    Invalid(Violations),
    /// The caller's token is missing, malformed or unknown.
    #[error("unauthenticated")]
    Unauthenticated(&'static str),
    /// The caller's key has ended, with the verdict that its token would get.
    #[error("the caller's key has ended")]
    CallerEnded(Verdict),
    /// The caller's key may not be used from the caller's address.
    #[error("the caller's key may not be used from this address")]
    CallerNetworkDenied,
    /// The caller's key lacks all of the permissions, of which any would be enough.
    #[error("the caller's key lacks the permission")]
    PermissionMissing(&'static [Permission]),
    /// The caller's key covers no account.
    #[error("the caller's key covers no account")]
    NoAccounts,
    /// A key of account `system` would exceed the rights of the caller.
    #[error("the grant exceeds the caller's key")]
    GrantExceedsCaller(GrantExcess),
    /// A portal session would exceed the rights of the caller.
    #[error("the portal session exceeds the caller's key")]
    PortalExceedsCaller(Vec<PortalAction>),
    /// A portal session may not do this.
    #[error("the portal session may not do this")]
    PortalMayNot,
    /// A change in a portal session would add these scopes to a key, which the session does not allow.
    #[error("the portal session does not allow these scopes")]
    ScopesNotAllowed(Vec<Scope>),
    /// There is no console, so there are no portal sessions.
    #[error(
        "this server has no console, so it has no portal sessions; start it with --api-listen, without --no-console"
    )]
    ConsoleOff,
    /// There is no such key, or the caller may not see it.
    #[error("the key was not found")]
    KeyNotFound,
    /// There is no such account, or the caller may not see it.
    #[error("the account was not found")]
    AccountNotFound,
    /// The key ID is in use or was used before.
    #[error("the key ID {0} is in use or was used before; choose another, or omit it for a generated one")]
    KeyExists(KeyId),
    /// The imported token exists already.
    #[error("the token is another key's, or appears earlier in this message")]
    TokenExists,
    /// The account ID is in use or was used before.
    #[error("the account ID {0} is in use or was used before; choose another")]
    AccountExists(AccountId),
    /// The request ID was used for a request with other parameters.
    #[error("the request ID was used for a request with other parameters")]
    RequestIdReused,
    /// A replica with an older build would misread the change.
    #[error("a replica runs an older build that would misread this change; retry when all replicas are upgraded")]
    ReplicasDiffer,
    /// The entity has changed since the caller read it.
    #[error("the etag is not the current one")]
    EtagMismatch,
    /// The policy or the state does not allow the change.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The database cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The change is committed, but the caller's deadline passes before every replica is known to enforce it.
    #[error("revision {revision} is committed, but not confirmed by every replica")]
    PropagationPending {
        /// The committed revision.
        revision: Revision,
        /// The time after which no replica without the change has a lease.
        safe_after: Timestamp,
    },
    /// This replica has no lease.
    #[error(transparent)]
    NoLease(#[from] NoLease),
    /// This replica lacks a version of the authority secret.
    #[error(transparent)]
    SecretMissing(#[from] SecretMissing),
    /// The operating system gave no random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The response to a batch would exceed the size that clients accept.
    #[error("the response would be larger than 4 MiB; use smaller batches")]
    ResponseTooLarge,
    /// The connection has too many calls in progress, none of which was authenticated.
    #[error(
        "{max} calls without a valid token are in progress on this connection, which is the limit; wait for their \
         responses, or send a valid token"
    )]
    TooManyCalls {
        /// The limit.
        max: usize,
    },
    /// The connection holds too many bytes of incomplete requests.
    #[error(
        "incomplete requests on this connection hold more than {bytes_max} bytes; complete them before others, or use \
         another connection"
    )]
    TooManyBytes {
        /// The limit.
        bytes_max: usize,
    },
    /// The connection has too many calls of reflection in progress.
    #[error("{max} calls of reflection are in progress on this connection, which is the limit; end one of them")]
    TooManyReflections {
        /// The limit.
        max: usize,
    },
    /// The messages that the caller imports or that wait are too many, or too large together.
    #[error(
        "32 import messages of this caller, or 32 MiB of them, are imported or wait already; nothing was imported; \
         wait for a response, then send the message again"
    )]
    ImportRunning,
    /// A call that is applied in several changes failed after the first of them.
    #[error("{count} keys were revoked before the call failed")]
    FailedAfterChanges {
        /// How many keys the earlier changes revoked.
        count: u64,
        /// The error of the later change.
        source: Box<RpcError>,
    },
    /// The call exceeded its deadline.
    #[error("the call exceeded its deadline")]
    DeadlineExceeded,
    /// The health service has no service of this name.
    #[error("no service of this name has a health status")]
    HealthUnknown,
    /// A sealed token cannot be decrypted, although the authority secret is the right one.
    #[error("cannot decrypt a sealed token")]
    UnsealFailed,
}

/// Why the grant of a key exceeds the rights of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantExcess {
    /// The key has scopes that the caller's key lacks.
    Scopes,
    /// The key covers accounts that the caller's key does not cover.
    Accounts,
    /// The key may be used from networks from which the caller's key may not be used.
    Networks,
    /// The key outlives the caller's token.
    Expiry,
    /// A renewal has replaced the caller's token, which grants nothing any more.
    ReplacedToken,
}

impl From<Violations> for RpcError {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}

impl From<OverBudget> for RpcError {
    fn from(OverBudget { bytes_max }: OverBudget) -> Self {
        Self::TooManyBytes { bytes_max }
    }
}

impl From<ChangeError> for RpcError {
    fn from(error: ChangeError) -> Self {
        Violations::rejected(error).map_or_else(Self::Policy, Self::Invalid)
    }
}

impl RpcError {
    /// Makes the error of a field that violates a rule.
    #[must_use]
    pub fn invalid(field: &str, rule: &str) -> Self {
        Self::Invalid(Violations::one(field, rule))
    }

    /// Returns the same error for a message that is in field `path`.
    #[must_use]
    pub fn within(self, path: &str) -> Self {
        match self {
            Self::Invalid(violations) => Self::Invalid(violations.within(path)),
            error => error,
        }
    }

    /// Returns the gRPC code and the reason of the error.
    #[must_use]
    pub fn code(&self) -> (Code, &'static str) {
        match self {
            Self::Invalid(_) => (Code::InvalidArgument, "FIELD_INVALID"),
            Self::Unauthenticated(_) | Self::CallerEnded(_) => (Code::Unauthenticated, "CALLER_UNKNOWN"),
            Self::CallerNetworkDenied => (Code::PermissionDenied, "CALLER_NETWORK_DENIED"),
            Self::PermissionMissing(_) | Self::PortalMayNot => (Code::PermissionDenied, "PERMISSION_MISSING"),
            Self::ScopesNotAllowed(_) => (Code::PermissionDenied, "SCOPES_NOT_ALLOWED"),
            Self::NoAccounts => (Code::PermissionDenied, "CALLER_COVERS_NO_ACCOUNT"),
            Self::GrantExceedsCaller(_) | Self::PortalExceedsCaller(_) => {
                (Code::PermissionDenied, "GRANT_EXCEEDS_CALLER")
            }
            Self::ConsoleOff => (Code::FailedPrecondition, "CONSOLE_OFF"),
            Self::KeyNotFound => (Code::NotFound, "KEY_NOT_FOUND"),
            Self::AccountNotFound => (Code::NotFound, "ACCOUNT_NOT_FOUND"),
            Self::KeyExists(_) => (Code::AlreadyExists, "KEY_EXISTS"),
            Self::TokenExists => (Code::AlreadyExists, "TOKEN_EXISTS"),
            Self::AccountExists(_) => (Code::AlreadyExists, "ACCOUNT_EXISTS"),
            Self::RequestIdReused => (Code::AlreadyExists, "REQUEST_ID_REUSED"),
            Self::ReplicasDiffer => (Code::FailedPrecondition, "REPLICAS_DIFFER"),
            Self::EtagMismatch => (Code::Aborted, "ETAG_MISMATCH"),
            Self::Policy(error) => (Code::FailedPrecondition, error.reason()),
            Self::PropagationPending { .. } => (Code::DeadlineExceeded, "PROPAGATION_PENDING"),
            Self::NoLease(_) => (Code::Unavailable, "LEASE_EXPIRED"),
            Self::SecretMissing(_) => (Code::Unavailable, "SECRET_VERSION_MISSING"),
            Self::Storage(error) => match error {
                StorageError::OutcomeUnknown(_) => (Code::Unavailable, "OUTCOME_UNKNOWN"),
                StorageError::Unavailable(_)
                | StorageError::TooManyConnections(_)
                | StorageError::TimedOut
                | StorageError::Locked(_)
                | StorageError::ReadOnly
                | StorageError::Conflict(_)
                | StorageError::CannotWrite(_)
                | StorageError::AuthenticationFailed(_)
                | StorageError::NotPermitted(_)
                | StorageError::NoDatabase(_) => (Code::Unavailable, "STORAGE_UNAVAILABLE"),
                StorageError::TooManyChanges { .. } => (Code::ResourceExhausted, "TOO_MANY_CHANGES"),
                StorageError::Corrupt { .. } => (Code::DataLoss, "ROW_CORRUPT"),
                StorageError::Refused(_)
                | StorageError::Damaged(_)
                | StorageError::File(_)
                | StorageError::Unaudited => (Code::Internal, "STORAGE_FAULT"),
            },
            Self::ResponseTooLarge => (Code::ResourceExhausted, "ANSWER_TOO_LARGE"),
            Self::ImportRunning => (Code::ResourceExhausted, "IMPORT_RUNNING"),
            Self::FailedAfterChanges { source, .. } => source.code(),
            Self::DeadlineExceeded => (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            Self::HealthUnknown => (Code::NotFound, "HEALTH_UNKNOWN"),
            Self::TooManyCalls { .. } => (Code::ResourceExhausted, "TOO_MANY_CALLS"),
            Self::TooManyBytes { .. } => (Code::ResourceExhausted, "TOO_MANY_BYTES"),
            Self::TooManyReflections { .. } => (Code::ResourceExhausted, "TOO_MANY_REFLECTIONS"),
            Self::Entropy(_) => (Code::Internal, "NO_RANDOMNESS"),
            Self::UnsealFailed => (Code::DataLoss, "SEAL_BROKEN"),
        }
    }

    /// Whether the caller or its request caused the error; otherwise the server or the database did.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        let faults = [Code::Unavailable, Code::DeadlineExceeded, Code::Internal, Code::DataLoss];
        !faults.contains(&self.code().0)
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
            Self::Policy(PolicyError::KeyRecentlyUsed { last_used_time }) => {
                metadata.insert("last_used_time".into(), last_used_time.to_string());
            }
            Self::Policy(PolicyError::KeyLimitReached { max, .. }) => {
                metadata.insert("max_keys".into(), max.to_string());
            }
            Self::CallerEnded(verdict) => {
                metadata.insert("verdict".into(), verdict.as_str().into());
            }
            Self::PermissionMissing(permissions) => {
                // The contract names one permission; the message lists them all.
                if let Some(first) = permissions.first() {
                    metadata.insert("permission".into(), first.to_string());
                }
            }
            Self::ScopesNotAllowed(scopes) => {
                metadata.insert("field".into(), "scopes".into());
                metadata.insert(
                    "scopes".into(),
                    scopes.iter().take(SCOPES_NAMED_MAX).map(Scope::as_str).collect::<Vec<_>>().join(" "),
                );
            }
            Self::PropagationPending { revision, safe_after } => {
                metadata.insert("committed".into(), true.to_string());
                metadata.insert("revision".into(), revision.to_string());
                metadata.insert("safe_after".into(), safe_after.to_string());
            }
            _ => {}
        }
        details.set_error_info(reason, ERROR_DOMAIN, metadata);
        details
    }

    /// Logs the cause of an error of the server or the database.
    fn log(&self) {
        let is_internal = !matches!(self.code().0, Code::Unavailable);
        match self {
            Self::FailedAfterChanges { source, .. } => source.log(),
            // The caller's doing: it is counted and logged as a refused call.
            Self::Storage(StorageError::TooManyChanges { .. }) => {}
            Self::Storage(error) => {
                let cause = causes(error);
                if is_internal {
                    tracing::error!(error = %error, cause, "storage failed");
                } else {
                    tracing::warn!(error = %error, cause, "storage failed");
                }
            }
            Self::Entropy(_) | Self::UnsealFailed => {
                tracing::error!(error = %self, cause = causes(self), "internal error");
            }
            _ => {}
        }
    }
}

impl From<RpcError> for Status {
    fn from(error: RpcError) -> Self {
        error.log();
        let (code, reason) = error.code();
        Self::with_error_details(code, error.message(), error.details(reason))
    }
}

#[cfg(test)]
mod tests {
    /// Returns every reason in a table: a string literal in capitals.
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
        // The health service and reflection have their own reasons.
        let of_health = ["HEALTH_UNKNOWN", "TOO_MANY_REFLECTIONS"];
        let all: Vec<_> = reasons(ours).chain(reasons(refusals)).filter(|reason| !of_health.contains(reason)).collect();
        assert!(all.len() > 30, "{all:?}");
        for reason in all {
            let is_named = comment.split(|c: char| c != '_' && !c.is_ascii_uppercase()).any(|word| word == reason);
            assert!(is_named, "{reason} is not in the proto");
        }
    }
}
