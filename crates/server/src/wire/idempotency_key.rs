//! By what a repeated request is known: its `request_id`, and a digest that tells another request under the same ID.

use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::id::RequestId;
use key_authority_proto::v1;

use super::check::Check;
use super::violations::Violations;

/// Keeps these digests apart from all others that are made of requests.
const CONTEXT: &str = "keyauthority.v1 2026-11 request digest";

/// A request that changes something and may carry a `request_id`.
pub(crate) trait Mutation: prost::Message + Sized {
    /// The RPC that it belongs to.
    const METHOD: &'static str;

    /// The caller's name for it; empty when it has none.
    fn request_id(&self) -> &str;
}

/// By what a request is known when it is repeated. None: it has no name, and every call is a new one.
///
/// The functions that read a whole request have this in their result, so that a wrong `request_id` is told together with
/// all else that is wrong.
///
/// # Errors
/// When its `request_id` is none.
pub(crate) fn of<R: Mutation>(request: &R) -> Result<Option<IdempotencyKey>, Violations> {
    let mut check = Check::new();
    let mark = mark(&mut check, request);
    check.finish(|| Some(mark))
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
    "RenewKey", RenewKeyRequest;
    "DeleteKey", DeleteKeyRequest;
    "PrepareConnection", PrepareConnectionRequest;
    "CreateAccount", CreateAccountRequest;
    "UpdateAccount", UpdateAccountRequest;
    "SuspendAccount", SuspendAccountRequest;
    "ResumeAccount", ResumeAccountRequest;
    "DeleteAccount", DeleteAccountRequest;
    "AcceptRestore", AcceptRestoreRequest;
}

/// The mark of a request that is being checked.
pub(crate) fn mark<R: Mutation>(check: &mut Check, request: &R) -> Option<IdempotencyKey> {
    let id = check.optional("request_id", request.request_id(), RequestId::new)?;
    Some(IdempotencyKey { id, digest: request_digest(R::METHOD, request) })
}

/// A digest of a method and its parameters.
///
/// The `request_id` may stay in the request: digests are compared only between requests of the same one. Maps are ordered
/// and unknown fields dropped when a request is decoded, so equal parameters have equal digests.
#[must_use]
pub(crate) fn request_digest(method: &str, request: &impl prost::Message) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    // No method has a NUL in its name: where it ends is clear.
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
    fn the_same_request_has_the_same_mark_and_another_has_not() {
        let mark = |request: v1::DisableKeyRequest| of(&request).unwrap().unwrap();
        assert_eq!(mark(disable("key_1", "r1")), mark(disable("key_1", "r1")));
        assert_ne!(mark(disable("key_1", "r1")).digest, mark(disable("key_2", "r1")).digest);
        let enable = v1::EnableKeyRequest { key_id: "key_1".into(), request_id: "r1".into() };
        assert_ne!(mark(disable("key_1", "r1")).digest, of(&enable).unwrap().unwrap().digest);
    }

    #[test]
    fn a_request_id_has_1_to_128_printable_characters() {
        assert_eq!(of(&disable("key_1", "")), Ok(None));
        assert!(of(&disable("key_1", &"~".repeat(128))).unwrap().is_some());
        for wrong in [&"x".repeat(129), "a b", "é", "a\n", "\u{7f}"] {
            let violations = of(&disable("key_1", wrong)).unwrap_err().to_string();
            assert_eq!(violations, "request_id must be 1 to 128 printable ASCII characters without spaces");
        }
    }

    /// A new RPC whose request has a `request_id` fails here until it stands in the table above.
    #[test]
    fn every_request_with_a_request_id_can_be_marked() {
        let known = [
            v1::CreateKeyRequest::METHOD,
            v1::ImportKeysRequest::METHOD,
            v1::UpdateKeyRequest::METHOD,
            v1::DisableKeyRequest::METHOD,
            v1::EnableKeyRequest::METHOD,
            v1::RevokeKeyRequest::METHOD,
            v1::RenewKeyRequest::METHOD,
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
        let mut marked: Vec<_> = messages
            .filter(|message| message.name().ends_with("Request"))
            .filter(|message| message.field.iter().any(|field| field.name() == "request_id"))
            .map(|message| message.name().trim_end_matches("Request"))
            .collect();
        marked.sort_unstable();
        let mut known = known.to_vec();
        known.sort_unstable();
        assert_eq!(marked, known);
    }
}
