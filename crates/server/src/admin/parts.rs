//! The idempotency keys of the parts of a request that is applied in several changes.

use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::id::RequestId;

/// The domain of the digests and IDs of parts, which separates them from those of whole requests. It is named after the
/// first request with parts, and stays, so that a request can be repeated after an upgrade.
const CONTEXT: &str = "keyauthority.v1 2026-11 part of an import";
/// How many characters of the caller's request ID the request ID of a part starts with.
const ID_PREFIX_LEN: usize = 64;

/// Returns the idempotency key of a part of the request with this key. The request ID of a later part contains a hash,
/// so that it does not collide with the ID of another request.
pub(super) fn of_part(key: &IdempotencyKey, number: usize) -> IdempotencyKey {
    let mut digest = blake3::Hasher::new_derive_key(CONTEXT);
    digest.update(&key.digest);
    let digest = *digest.finalize().as_bytes();
    if number == 0 {
        return IdempotencyKey { id: key.id.clone(), digest };
    }
    let mut hash = blake3::Hasher::new_derive_key(CONTEXT);
    hash.update(&(number as u64).to_be_bytes()).update(key.id.as_str().as_bytes());
    let hash = hash.finalize().to_hex();
    let prefix: String = key.id.as_str().chars().take(ID_PREFIX_LEN).collect();
    let id = format!("{prefix}#{}:{}", number + 1, hash.get(..32).unwrap_or_default());
    // Printable and short enough, so never invalid.
    IdempotencyKey { id: RequestId::new(&id).unwrap_or_else(|_| key.id.clone()), digest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_its_own_request_id() {
        let key = |id: &str| IdempotencyKey { id: RequestId::new(id).unwrap(), digest: [7; 32] };
        let long = key(&"~".repeat(128));
        let first = of_part(&long, 0);
        assert!(first.id == long.id && first.digest != long.digest, "it is not mistaken for a whole message");
        let ids: std::collections::HashSet<_> = (0..20).map(|number| of_part(&long, number).id).collect();
        assert_eq!(ids.len(), 20);
        assert_ne!(of_part(&long, 1).id, of_part(&key(&"~".repeat(127)), 1).id);
        assert!(of_part(&key("r-1"), 1).id.as_str().starts_with("r-1#2:"));
    }
}
