//! `ImportKeys`: a message of many keys. Each key is validated on its own, so that an invalid one does not affect the
//! others.

use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::foreign::ImportedSecret;
use key_authority_domain::id::AccountId;
use key_authority_domain::token::Token;
use key_authority_proto::v1;
use v1::create_key_request::Expiry as NewExpiry;
use v1::imported_key::{Expiry, Secret};

use super::check::Check;
use super::idempotency_key::idempotency_key;
use super::key::digest::{HINT, digest};
use super::key::{KeySpec, new_key};
use super::violations::Violations;

/// The maximum number of keys in one message.
pub(crate) const KEYS_MAX: usize = 10_000;

/// A message of keys to import.
#[derive(Debug)]
pub(crate) struct ImportSpec {
    /// The account to import into.
    pub account: AccountId,
    /// Whether to report the outcome without importing.
    pub dry_run: bool,
    /// The idempotency key of the message.
    pub request: Option<IdempotencyKey>,
    /// The keys or their violations, in order.
    pub keys: Vec<Result<ImportedKey, Violations>>,
}

/// A key to import.
#[derive(Debug)]
pub(crate) struct ImportedKey {
    /// The attributes of the key.
    pub spec: KeySpec,
    /// The token, or its digest.
    pub secret: ImportedSecret,
    /// The hint of the token.
    pub hint: String,
}

/// Reads a message of keys to import.
///
/// # Errors
/// The violations of the message as a whole; the violations of a key are in its place.
pub(crate) fn import_keys(request: v1::ImportKeysRequest) -> Result<ImportSpec, Violations> {
    let mut check = Check::new();
    let account = check.required("account", &request.account, AccountId::new);
    if !(1..=KEYS_MAX).contains(&request.keys.len()) {
        check.violation("keys", format!("must be 1 to {KEYS_MAX}"));
    }
    let idempotency_key = if request.dry_run { None } else { idempotency_key(&mut check, &request) };
    let v1::ImportKeysRequest { account: text, keys, dry_run, request_id: _ } = request;
    check.finish(|| {
        let keys = keys.into_iter().map(|key| imported_key(&text, key)).collect();
        Some(ImportSpec { account: account?, dry_run, request: idempotency_key, keys })
    })
}

fn imported_key(account: &str, key: v1::ImportedKey) -> Result<ImportedKey, Violations> {
    let mut check = Check::new();
    let secret = secret(&mut check, key.secret);
    let hint = match &secret {
        Some(ImportedSecret::Token(token)) if key.token_hint.is_empty() => token.hint(),
        Some(ImportedSecret::Token(_)) => {
            check.violation("token_hint", "must be omitted with a whole token");
            String::new()
        }
        _ => check.text("token_hint", &key.token_hint, HINT),
    };
    // All fields but the secret are those of a key that is created, and follow the same rules.
    let created = v1::CreateKeyRequest {
        account: account.to_owned(),
        key_id: key.key_id,
        display_name: key.display_name,
        description: key.description,
        scopes: key.scopes,
        projects: key.projects,
        labels: key.labels,
        allowed_networks: key.allowed_networks,
        expiry: key.expiry.map(|expiry| match expiry {
            Expiry::Lifetime(lifetime) => NewExpiry::Lifetime(lifetime),
            Expiry::ExpireTime(end) => NewExpiry::ExpireTime(end),
            Expiry::NeverExpires(never) => NewExpiry::NeverExpires(never),
        }),
        disabled: key.disabled,
        ..Default::default()
    };
    let spec = new_key(&created).map_err(|violations| check.absorb(violations)).ok();
    check.finish(|| Some(ImportedKey { spec: spec?, secret: secret?, hint }))
}

fn secret(check: &mut Check, secret: Option<Secret>) -> Option<ImportedSecret> {
    match secret {
        None => {
            check.violation("token", "must be set, or one of blake3 and sha256");
            None
        }
        Some(Secret::Token(text)) => check.field("token", Token::imported(&text)).map(ImportedSecret::Token),
        Some(Secret::Blake3(bytes)) => check.field("blake3", digest(&bytes)).map(ImportedSecret::Blake3),
        Some(Secret::Sha256(bytes)) => check.field("sha256", digest(&bytes)).map(ImportedSecret::Sha256),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: Secret) -> v1::ImportedKey {
        v1::ImportedKey { secret: Some(secret), ..Default::default() }
    }

    fn token() -> Secret {
        Secret::Token("sk-live-0123456789-ABCDEF".into())
    }

    fn request(keys: Vec<v1::ImportedKey>) -> v1::ImportKeysRequest {
        v1::ImportKeysRequest { account: "acme".into(), keys, ..Default::default() }
    }

    fn wrong(key: v1::ImportedKey) -> String {
        let spec = import_keys(request(vec![key])).unwrap();
        spec.keys[0].as_ref().unwrap_err().iter().map(|violation| violation.field.clone()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_key_is_read_by_itself() {
        let bad = v1::ImportedKey { key_id: "no id".into(), token_hint: "sk".into(), ..key(token()) };
        let spec = import_keys(request(vec![key(token()), bad.clone(), key(Secret::Sha256(vec![7; 32]))])).unwrap();
        assert_eq!(spec.keys.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(spec.keys[0].as_ref().unwrap().hint, "sk-l…");
        assert_eq!(wrong(bad), "token_hint key_id");
    }

    #[test]
    fn a_secret_is_one_of_three_and_has_its_length() {
        assert_eq!(wrong(v1::ImportedKey::default()), "token");
        assert_eq!(wrong(key(Secret::Token("short".into()))), "token");
        assert_eq!(wrong(key(Secret::Blake3(vec![7; 31]))), "blake3");
        assert_eq!(wrong(key(Secret::Sha256(vec![7; 33]))), "sha256");
        for hint in ["123456789", "a b", "a\n"] {
            let digest = key(Secret::Sha256(vec![7; 32]));
            assert_eq!(wrong(v1::ImportedKey { token_hint: hint.into(), ..digest }), "token_hint", "{hint}");
        }
    }

    #[test]
    fn a_message_is_validated_as_a_whole() {
        let fields = |request| import_keys(request).unwrap_err().iter().map(|v| v.field.clone()).collect::<Vec<_>>();
        assert_eq!(fields(v1::ImportKeysRequest::default()), ["account", "keys"]);
        assert_eq!(fields(request(vec![key(token()); KEYS_MAX + 1])), ["keys"]);
        let named = v1::ImportKeysRequest { request_id: "a b".into(), ..request(vec![key(token())]) };
        assert_eq!(fields(named.clone()), ["request_id"]);
        let dry = v1::ImportKeysRequest { dry_run: true, ..named };
        assert!(import_keys(dry).unwrap().request.is_none(), "a dry run changes nothing");
    }
}
