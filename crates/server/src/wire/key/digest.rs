//! The digest of a token that the caller made: the `oneof digest` of the requests that create or renew a key.

use std::fmt;

use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::foreign::ImportedSecret;
use key_authority_domain::secret::Keyring;
use key_authority_domain::text::{TextRule, ValidationError};
use key_authority_proto::v1::{create_key_request, renew_key_request};

use crate::wire::check::Check;
use crate::wire::idempotency_key::keyed;

/// The rule of a hint by which people recognize a token of which only a digest is known. It is short: more characters
/// would make the token easier to guess.
pub(crate) const HINT: TextRule = TextRule::line(8).without_spaces();

/// The digest of a token that the caller made. Its `Debug` output has no digest, by which guesses could be verified.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CallerDigest {
    digest: PlainDigest,
    /// The hint of the token; may be empty.
    pub hint: String,
}

impl fmt::Debug for CallerDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerDigest(…)")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PlainDigest {
    Blake3([u8; 32]),
    Sha256([u8; 32]),
}

impl CallerDigest {
    /// Returns the digest as an imported secret.
    #[must_use]
    pub(crate) fn secret(&self) -> ImportedSecret {
        match self.digest {
            PlainDigest::Blake3(digest) => ImportedSecret::Blake3(digest),
            PlainDigest::Sha256(digest) => ImportedSecret::Sha256(digest),
        }
    }
}

/// The value of the `oneof digest` in a request.
#[derive(Clone, Copy)]
pub(super) enum DigestField<'a> {
    Blake3(&'a [u8]),
    Sha256(&'a [u8]),
}

macro_rules! digest_fields {
    ($($request:ident)*) => {$(
        impl<'a> From<&'a $request::Digest> for DigestField<'a> {
            fn from(digest: &'a $request::Digest) -> Self {
                match digest {
                    $request::Digest::Blake3(bytes) => Self::Blake3(bytes),
                    $request::Digest::Sha256(bytes) => Self::Sha256(bytes),
                }
            }
        }
    )*};
}

digest_fields!(create_key_request renew_key_request);

/// Returns the digest of a request; `None` if the authority makes the token.
pub(super) fn caller_digest(check: &mut Check, field: Option<DigestField<'_>>, hint: &str) -> Option<CallerDigest> {
    let Some(field) = field else {
        if !hint.is_empty() {
            check.violation("token_hint", "must be omitted without blake3 or sha256");
        }
        return None;
    };
    let digest = match field {
        DigestField::Blake3(bytes) => check.field("blake3", digest(bytes)).map(PlainDigest::Blake3),
        DigestField::Sha256(bytes) => check.field("sha256", digest(bytes)).map(PlainDigest::Sha256),
    };
    let hint = check.text("token_hint", hint, HINT);
    Some(CallerDigest { digest: digest?, hint })
}

/// Returns the idempotency keys of a request that may have a digest, which must not be stored unkeyed.
pub(super) fn request_keys(
    keyring: &Keyring,
    request: Option<&IdempotencyKey>,
    digest: Option<&CallerDigest>,
) -> Vec<IdempotencyKey> {
    match digest {
        Some(_) => keyed(keyring, request),
        None => request.cloned().into_iter().collect(),
    }
}

/// Reads a digest.
///
/// # Errors
/// The rule, when it has another length.
pub(crate) fn digest(bytes: &[u8]) -> Result<[u8; 32], ValidationError> {
    bytes.try_into().map_err(|_| ValidationError::new("must be 32 bytes"))
}
