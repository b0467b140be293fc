//! The messages for callers: what is wrong, and what to do about it.

use key_authority_domain::access::Scope;
use key_authority_domain::permission::Permission;
use key_authority_domain::portal::PortalAction;
use key_authority_domain::verdict::Verdict;
use key_authority_storage::StorageError;

use super::{GrantExcess, RpcError, SCOPES_NAMED_MAX};

/// The message about an error whose cause only the log has.
const INTERNAL_ERROR: &str = "internal error; see the server's log";

impl RpcError {
    /// Returns the message for the caller: what is wrong, and what to do about it.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Invalid(violations) => violations.to_string(),
            Self::Unauthenticated(why) => {
                format!("{why}; send `authorization: Bearer <token of a key of account system>`")
            }
            Self::CallerEnded(verdict) => match verdict {
                Verdict::Expired => {
                    "the caller's token has expired, or was replaced by a renewal of its key; use the newest token"
                        .into()
                }
                Verdict::Disabled => "the caller's key is disabled".into(),
                Verdict::AccountSuspended => "account system is suspended".into(),
                _ => "the caller's key is revoked; use another".into(),
            },
            Self::PermissionMissing(permissions) => permission_message(permissions),
            Self::GrantExceedsCaller(excess) => excess.message().into(),
            Self::PortalExceedsCaller(actions) => portal_message(actions),
            Self::ScopesNotAllowed(scopes) => scopes_message(scopes),
            Self::KeyNotFound => "there is no such key, or not in an account that the caller's key covers".into(),
            Self::AccountNotFound => "there is no such account, or not one that the caller's key covers".into(),
            Self::RequestIdReused => {
                "this request_id was used for a request with other parameters; use a new one for each request".into()
            }
            Self::EtagMismatch => "the etag is not current; read the resource again and send the new etag".into(),
            Self::PropagationPending { revision, safe_after } => format!(
                "the change is committed as revision {revision}, but the deadline passed before every replica \
                 confirmed it; call AwaitRevision with {revision}, or retry with the same request_id, or wait until \
                 {safe_after}"
            ),
            Self::NoLease(error) => error.to_string(),
            Self::SecretMissing(error) => error.to_string(),
            Self::Storage(error) => storage_message(error),
            Self::Entropy(_) | Self::UnsealFailed => INTERNAL_ERROR.into(),
            Self::FailedAfterChanges { count, source } => format!(
                "{count} keys were revoked, then the call failed ({}); repeat it with the same request_id to revoke \
                 the rest",
                source.code().1
            ),
            Self::DeadlineExceeded
            | Self::ImportRunning
            | Self::HealthUnknown
            | Self::TooManyCalls { .. }
            | Self::TooManyBytes { .. }
            | Self::TooManyReflections { .. }
            | Self::CallerNetworkDenied
            | Self::PortalMayNot
            | Self::ConsoleOff
            | Self::NoAccounts
            | Self::KeyExists(_)
            | Self::TokenExists
            | Self::ReplicasDiffer
            | Self::AccountExists(_)
            | Self::ResponseTooLarge
            | Self::Policy(_) => self.to_string(),
        }
    }
}

impl GrantExcess {
    const fn message(self) -> &'static str {
        match self {
            Self::Scopes => "the key of account system has scopes that the caller's key lacks",
            Self::Accounts => "the key or change affects accounts that the caller's key does not cover",
            Self::Networks => "the key of account system is usable from networks that the caller's key does not allow",
            Self::Expiry => "the key of account system expires later than the caller's token",
            Self::ReplacedToken => "this token was replaced by a renewal; call with the key's newest token",
        }
    }
}

/// Returns the message for a caller whose call the database failed.
fn storage_message(error: &StorageError) -> String {
    match error {
        StorageError::OutcomeUnknown(_) => {
            "outcome unknown; retry with the same request_id, which makes the change once or returns its result".into()
        }
        StorageError::ReadOnly => "the database is read-only; nothing was changed; retry".into(),
        StorageError::Conflict(_) => {
            "the database aborted the change in favour of others; nothing was changed; retry".into()
        }
        StorageError::Locked(_) => "another process holds the lock of the database; nothing was changed; retry".into(),
        StorageError::CannotWrite(_) => "the database cannot write (is its disk full?); nothing was changed".into(),
        StorageError::Unavailable(_)
        | StorageError::TooManyConnections(_)
        | StorageError::TimedOut
        | StorageError::AuthenticationFailed(_)
        | StorageError::NoDatabase(_) => "the database cannot be reached; nothing was changed; retry".into(),
        StorageError::NotPermitted(_) => "the server's database user lacks a privilege; nothing was changed".into(),
        StorageError::TooManyChanges { max } => format!(
            "{max} changes of this caller wait for their turn already; nothing was changed; wait for some of them, \
             then retry"
        ),
        StorageError::Corrupt { .. }
        | StorageError::Refused(_)
        | StorageError::Damaged(_)
        | StorageError::File(_)
        | StorageError::Unaudited => INTERNAL_ERROR.into(),
    }
}

/// Returns the message for a caller whose key lacks all of the `permissions`, of which any is enough.
fn permission_message(permissions: &[Permission]) -> String {
    let names: Vec<_> = permissions.iter().map(|permission| format!("`{permission}`")).collect();
    match names.as_slice() {
        [only] => format!("permission denied: the caller's key lacks the scope {only}"),
        names => format!(
            "permission denied: the caller's key lacks the scopes {}; any of them is enough",
            names.join(" or ")
        ),
    }
}

/// Returns the message for a caller that may not allow these actions.
fn portal_message(actions: &[PortalAction]) -> String {
    let lacks = |action: &PortalAction| {
        let names: Vec<_> = action.permissions().iter().map(|permission| format!("`{permission}`")).collect();
        format!("{} needs {}", action.as_str(), names.join(" or "))
    };
    let lacks: Vec<_> = actions.iter().map(lacks).collect();
    format!("the portal session may do what the caller's key may not: {}", lacks.join(", "))
}

/// Returns the message for a user of a portal who may not add these scopes to keys.
fn scopes_message(scopes: &[Scope]) -> String {
    let names: Vec<_> = scopes.iter().take(SCOPES_NAMED_MAX).map(|scope| format!("`{scope}`")).collect();
    let more = scopes.len() - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("a user of this portal may not add {}{more} to a key", names.join(", "))
}
