//! The idempotency key of a request: its `request_id`, and a digest that detects another request under the same ID.

use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::id::RequestId;
use key_authority_domain::secret::Keyring;
use key_authority_proto::v1;

use super::check::Check;
use super::violations::Violations;

/// The domain of these digests, which separates them from all other digests of requests.
const CONTEXT: &str = "keyauthority.v1 2026-11 request digest";

/// A request that changes something and may have a `request_id`.
pub(crate) trait Mutation: prost::Message + Sized {
    /// The RPC of the request.
    const METHOD: &'static str;

    /// Returns the caller's ID of the request; empty if it has none.
    fn request_id(&self) -> &str;
}

/// Returns the idempotency key of a request; `None` without a `request_id`, so that every call is a new one.
///
/// The functions that read a whole request include this, so that an invalid `request_id` is reported together with all
/// other violations.
///
/// # Errors
/// When the `request_id` is invalid.
pub(crate) fn from_request<R: Mutation>(request: &R) -> Result<Option<IdempotencyKey>, Violations> {
    let mut check = Check::new();
    let key = idempotency_key(&mut check, request);
    check.finish(|| Some(key))
}

macro_rules! mutations {
    ($($method:literal, $request:ident;)*) => {$(
        impl Mutation for v1::$request {
            const METHOD: &'static str = $method;

            fn request_id(&self) -> &str {
                &self.request_id
            }
        }
    )*};
}

mutations! {
    "CreateKey", CreateKeyRequest;
    "ImportKeys", ImportKeysRequest;
    "UpdateKey", UpdateKeyRequest;
    "DisableKey", DisableKeyRequest;
    "EnableKey", EnableKeyRequest;
    "RevokeKey", RevokeKeyRequest;
    "RevokeKeys", RevokeKeysRequest;
    "RevokeToken", RevokeTokenRequest;
    "RenewKey", RenewKeyRequest;
    "RenewToken", RenewTokenRequest;
    "DeleteKey", DeleteKeyRequest;
    "PrepareConnection", PrepareConnectionRequest;
    "CreateAccount", CreateAccountRequest;
    "UpdateAccount", UpdateAccountRequest;
    "SuspendAccount", SuspendAccountRequest;
    "ResumeAccount", ResumeAccountRequest;
    "DeleteAccount", DeleteAccountRequest;
    "AcceptRestore", AcceptRestoreRequest;
}

/// Returns the idempotency key of a request that is being validated.
pub(crate) fn idempotency_key<R: Mutation>(check: &mut Check, request: &R) -> Option<IdempotencyKey> {
    let id = check.optional("request_id", request.request_id(), RequestId::of_caller)?;
    Some(IdempotencyKey { id, digest: request_digest(R::METHOD, request) })
}

/// Returns the idempotency keys of a request whose parameters contain a token or a digest of one: the digest of the
/// request is keyed before it is stored, so that guesses cannot be verified against it. One for each version of the
/// authority secret, the first one for the log.
#[must_use]
pub(crate) fn keyed(keyring: &Keyring, request: Option<&IdempotencyKey>) -> Vec<IdempotencyKey> {
    let of_key = |key: &IdempotencyKey| {
        keyring.keyed_digest(&key.digest).map(|digest| IdempotencyKey { digest, id: key.id.clone() }).collect()
    };
    request.map_or_else(Vec::new, of_key)
}

/// Returns a digest of a method and its parameters.
///
/// The digest may include the `request_id`, since only digests under the same ID are compared. When a request is
/// decoded, maps are ordered and unknown fields dropped, so equal parameters have equal digests.
#[must_use]
pub(crate) fn request_digest(method: &str, request: &impl prost::Message) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    // No method has a NUL in its name, so the end of the name is unambiguous.
    hasher.update(method.as_bytes()).update(&[0]).update(&request.encode_to_vec());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use key_authority_proto::FILE_DESCRIPTOR_SET;
    use prost::Message as _;

    fn disable(key_id: &str, request_id: &str) -> v1::DisableKeyRequest {
        v1::DisableKeyRequest { key_id: key_id.into(), request_id: request_id.into() }
    }

    #[test]
    fn equal_requests_have_equal_keys_and_others_differ() {
        let key = |request: v1::DisableKeyRequest| from_request(&request).unwrap().unwrap();
        assert_eq!(key(disable("key_1", "r1")), key(disable("key_1", "r1")));
        assert_ne!(key(disable("key_1", "r1")).digest, key(disable("key_2", "r1")).digest);
        let enable = v1::EnableKeyRequest { key_id: "key_1".into(), request_id: "r1".into() };
        assert_ne!(key(disable("key_1", "r1")).digest, from_request(&enable).unwrap().unwrap().digest);
    }

    #[test]
    fn a_request_id_has_1_to_128_printable_characters() {
        assert_eq!(from_request(&disable("key_1", "")), Ok(None));
        assert!(from_request(&disable("key_1", &"~".repeat(128))).unwrap().is_some());
        for wrong in [&"x".repeat(129), "a b", "é", "a\n", "\u{7f}"] {
            let violations = from_request(&disable("key_1", wrong)).unwrap_err().to_string();
            assert_eq!(violations, "request_id must be 1 to 128 printable ASCII characters without spaces");
        }
    }

    /// Fails for a new RPC with a `request_id` until the RPC is in the table above.
    #[test]
    fn every_request_with_a_request_id_has_an_idempotency_key() {
        let known = [
            v1::CreateKeyRequest::METHOD,
            v1::ImportKeysRequest::METHOD,
            v1::UpdateKeyRequest::METHOD,
            v1::DisableKeyRequest::METHOD,
            v1::EnableKeyRequest::METHOD,
            v1::RevokeKeyRequest::METHOD,
            v1::RevokeKeysRequest::METHOD,
            v1::RevokeTokenRequest::METHOD,
            v1::RenewKeyRequest::METHOD,
            v1::RenewTokenRequest::METHOD,
            v1::DeleteKeyRequest::METHOD,
            v1::PrepareConnectionRequest::METHOD,
            v1::CreateAccountRequest::METHOD,
            v1::UpdateAccountRequest::METHOD,
            v1::SuspendAccountRequest::METHOD,
            v1::ResumeAccountRequest::METHOD,
            v1::DeleteAccountRequest::METHOD,
            v1::AcceptRestoreRequest::METHOD,
        ];
        let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let messages =
            set.file.iter().filter(|file| file.package() == "keyauthority.v1").flat_map(|file| &file.message_type);
        let mut in_proto: Vec<_> = messages
            .filter(|message| message.name().ends_with("Request"))
            .filter(|message| message.field.iter().any(|field| field.name() == "request_id"))
            .map(|message| message.name().trim_end_matches("Request"))
            .collect();
        in_proto.sort_unstable();
        let mut known = known.to_vec();
        known.sort_unstable();
        assert_eq!(in_proto, known);
    }
}
