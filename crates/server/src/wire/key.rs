//! Requests about keys. Creating, changing, listing and showing them have files of their own.

use std::time::Duration;

use key_authority_domain::account::ExpiryChoice;
use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::id::KeyId;
use key_authority_domain::text;
use key_authority_proto::v1;

use self::expiry::{Said, expiry};
use super::check::Check;
use super::mark::mark;
use super::time;
use super::violations::Violations;

mod change;
mod create;
mod expiry;
mod list;
mod shown;

pub(crate) use change::{check_caller_change, key_change};
pub(crate) use create::{KeySpec, new_key};
pub(crate) use list::list_keys;
pub(crate) use shown::key_to_proto;

/// A call that names a key and says no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyCall {
    /// Which key.
    pub key_id: KeyId,
    /// By what the call is known when it is repeated.
    pub request: Option<IdempotencyKey>,
}

/// A key to revoke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RevokeSpec {
    /// Which key.
    pub key_id: KeyId,
    /// Why; may be empty.
    pub reason: String,
    /// By what the call is known when it is repeated.
    pub request: Option<IdempotencyKey>,
}

/// A key to renew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RenewSpec {
    /// Which key.
    pub key_id: KeyId,
    /// How long the earlier tokens go on.
    pub overlap: Duration,
    /// Until when the key shall live now.
    pub expiry: ExpiryChoice,
    /// By what the call is known when it is repeated.
    pub request: Option<IdempotencyKey>,
}

/// A key to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeleteSpec {
    /// Which key.
    pub key_id: KeyId,
    /// Whether to delete it although it was used lately.
    pub allow_recently_used: bool,
    /// By what the call is known when it is repeated.
    pub request: Option<IdempotencyKey>,
}

/// Reads which key to return.
///
/// # Errors
/// What is wrong with the request.
pub(crate) fn get_key(request: &v1::GetKeyRequest) -> Result<KeyId, Violations> {
    key_id(&request.key_id)
}

/// Reads whose token to show.
///
/// # Errors
/// What is wrong with the request.
pub(crate) fn reveal_token(request: &v1::RevealTokenRequest) -> Result<KeyId, Violations> {
    key_id(&request.key_id)
}

fn key_id(text: &str) -> Result<KeyId, Violations> {
    let mut check = Check::new();
    let key_id = check.required("key_id", text, KeyId::new);
    check.finish(|| key_id)
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ident);)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// What is wrong with the request.
        pub(crate) fn $name(request: &v1::$request) -> Result<KeyCall, Violations> {
            let mut check = Check::new();
            let key_id = check.required("key_id", &request.key_id, KeyId::new);
            let request = mark(&mut check, request);
            check.finish(|| Some(KeyCall { key_id: key_id?, request }))
        }
    )*};
}

calls! {
    /// Reads which key to disable.
    disable_key(DisableKeyRequest);
    /// Reads which key to enable.
    enable_key(EnableKeyRequest);
}

/// Reads which key to revoke, and why.
///
/// # Errors
/// What is wrong with the request.
pub(crate) fn revoke_key(request: &v1::RevokeKeyRequest) -> Result<RevokeSpec, Violations> {
    let mut check = Check::new();
    let key_id = check.required("key_id", &request.key_id, KeyId::new);
    let reason = check.text("reason", &request.reason, text::REASON);
    let request = mark(&mut check, request);
    check.finish(|| Some(RevokeSpec { key_id: key_id?, reason, request }))
}

/// Reads which key to renew, and how.
///
/// # Errors
/// What is wrong with the request.
pub(crate) fn renew_key(request: &v1::RenewKeyRequest) -> Result<RenewSpec, Violations> {
    let mut check = Check::new();
    let key_id = check.required("key_id", &request.key_id, KeyId::new);
    let overlap = request.overlap.as_ref().and_then(|overlap| check.field("overlap", time::duration(overlap)));
    let expiry = expiry(&mut check, request.expiry.as_ref().map(Said::from));
    let request = mark(&mut check, request);
    check.finish(|| Some(RenewSpec { key_id: key_id?, overlap: overlap.unwrap_or_default(), expiry, request }))
}

/// Reads which key to delete.
///
/// # Errors
/// What is wrong with the request.
pub(crate) fn delete_key(request: &v1::DeleteKeyRequest) -> Result<DeleteSpec, Violations> {
    let mut check = Check::new();
    let key_id = check.required("key_id", &request.key_id, KeyId::new);
    let allow_recently_used = request.allow_recently_used;
    let request = mark(&mut check, request);
    check.finish(|| Some(DeleteSpec { key_id: key_id?, allow_recently_used, request }))
}

#[cfg(test)]
mod tests;
