//! Requests on keys. Creation, updates, listings and the conversion to protobuf have their own files.

use std::time::Duration;

use key_authority_domain::account::ExpiryChoice;
use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::id::KeyId;
use key_authority_domain::secret::Keyring;
use key_authority_domain::text;
use key_authority_proto::v1;

use self::digest::{DigestField, caller_digest, request_keys};
use self::expiry::{ExpiryField, expiry};
use super::check::Check;
use super::idempotency_key::idempotency_key;
use super::time;
use super::violations::Violations;

mod change;
mod create;
pub(crate) mod digest;
mod expiry;
mod list;
mod presented;
mod revoke_keys;
mod shown;

pub(crate) use change::{check_caller_change, key_change};
pub(crate) use create::{KeySpec, new_key};
pub(crate) use digest::CallerDigest;
pub(crate) use list::list_keys;
pub(crate) use presented::{renew_token, revoke_token};
pub(crate) use revoke_keys::{RevokeKeysSpec, revoke_keys};
pub(crate) use shown::key_to_proto;

/// A request that only names a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyCall {
    /// The key.
    pub key_id: KeyId,
    /// The idempotency key of the request.
    pub request: Option<IdempotencyKey>,
}

/// A key to revoke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RevokeSpec {
    /// The key.
    pub key_id: KeyId,
    /// The reason; may be empty.
    pub reason: String,
    /// The idempotency key of the request.
    pub request: Option<IdempotencyKey>,
}

/// A key to renew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RenewSpec {
    /// The key.
    pub key_id: KeyId,
    /// How long the earlier tokens stay valid.
    pub overlap: Duration,
    /// The new expiry of the key.
    pub expiry: ExpiryChoice,
    /// The digest of the new token; `None` if the authority makes the token.
    pub digest: Option<CallerDigest>,
    /// The idempotency key of the request.
    pub request: Option<IdempotencyKey>,
}

impl RenewSpec {
    /// Returns the idempotency keys of the request; empty without a `request_id`.
    #[must_use]
    pub(crate) fn request_keys(&self, keyring: &Keyring) -> Vec<IdempotencyKey> {
        request_keys(keyring, self.request.as_ref(), self.digest.as_ref())
    }
}

/// A key to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeleteSpec {
    /// The key.
    pub key_id: KeyId,
    /// Whether to delete the key although it was used recently.
    pub allow_recently_used: bool,
    /// The idempotency key of the request.
    pub request: Option<IdempotencyKey>,
}

/// Reads the key to return.
///
/// # Errors
/// The violations of the request.
pub(crate) fn get_key(request: &v1::GetKeyRequest) -> Result<KeyId, Violations> {
    key_id(&request.key_id)
}

/// Reads the key whose token to reveal.
///
/// # Errors
/// The violations of the request.
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
        /// The violations of the request.
        pub(crate) fn $name(request: &v1::$request) -> Result<KeyCall, Violations> {
            let mut check = Check::new();
            let key_id = check.required("key_id", &request.key_id, KeyId::new);
            let request = idempotency_key(&mut check, request);
            check.finish(|| Some(KeyCall { key_id: key_id?, request }))
        }
    )*};
}

calls! {
    /// Reads the key to disable.
    disable_key(DisableKeyRequest);
    /// Reads the key to enable.
    enable_key(EnableKeyRequest);
}

/// Reads the key to revoke, and the reason.
///
/// # Errors
/// The violations of the request.
pub(crate) fn revoke_key(request: &v1::RevokeKeyRequest) -> Result<RevokeSpec, Violations> {
    let mut check = Check::new();
    let key_id = check.required("key_id", &request.key_id, KeyId::new);
    let reason = check.text("reason", &request.reason, text::REASON);
    let request = idempotency_key(&mut check, request);
    check.finish(|| Some(RevokeSpec { key_id: key_id?, reason, request }))
}

/// Reads the key to renew, and its new expiry.
///
/// # Errors
/// The violations of the request.
pub(crate) fn renew_key(request: &v1::RenewKeyRequest) -> Result<RenewSpec, Violations> {
    let mut check = Check::new();
    let key_id = check.required("key_id", &request.key_id, KeyId::new);
    let overlap = request.overlap.as_ref().and_then(|overlap| check.field("overlap", time::duration(overlap)));
    let expiry = expiry(&mut check, request.expiry.as_ref().map(ExpiryField::from));
    let digest = caller_digest(&mut check, request.digest.as_ref().map(DigestField::from), &request.token_hint);
    let request = idempotency_key(&mut check, request);
    check.finish(|| Some(RenewSpec { key_id: key_id?, overlap: overlap.unwrap_or_default(), expiry, digest, request }))
}

/// Reads the key to delete.
///
/// # Errors
/// The violations of the request.
pub(crate) fn delete_key(request: &v1::DeleteKeyRequest) -> Result<DeleteSpec, Violations> {
    let mut check = Check::new();
    let key_id = check.required("key_id", &request.key_id, KeyId::new);
    let allow_recently_used = request.allow_recently_used;
    let request = idempotency_key(&mut check, request);
    check.finish(|| Some(DeleteSpec { key_id: key_id?, allow_recently_used, request }))
}

#[cfg(test)]
mod tests;
