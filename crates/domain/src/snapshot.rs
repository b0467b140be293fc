//! Snapshots of a key or an account in the audit log, before and after a change: JSON with the field names of the API,
//! without tokens, digests and sealed tokens. The hint of a token is included, because lists show it too.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::access::{ProjectAccess, Scope};
use crate::account::{Account, CountedKeys, KeyPolicy, ProjectRule};
use crate::audit::ChainHash;
use crate::id::{AccountId, KeyId, Subject};
use crate::key::{Key, KeyState, Secret};
use crate::portal::PortalAction;
use crate::time::Timestamp;

/// The snapshot of a key, in its state at `now`.
#[must_use]
pub fn of_key(key: &Key, now: Timestamp) -> String {
    let projects = match &key.access.projects {
        ProjectAccess::All => json!({ "all": true }),
        ProjectAccess::Only(only) => json!({ "only": texts(only) }),
    };
    let state = match key.state(now) {
        KeyState::Active => "KEY_STATE_ACTIVE",
        KeyState::Disabled => "KEY_STATE_DISABLED",
        KeyState::Revoked => "KEY_STATE_REVOKED",
        KeyState::Expired => "KEY_STATE_EXPIRED",
    };
    without_nulls(json!({
        "id": key.id.as_str(),
        "account": key.account.as_str(),
        "display_name": key.display_name,
        "description": key.description,
        "state": state,
        "scopes": texts(&key.access.scopes),
        "projects": projects,
        "labels": key.labels,
        "allowed_networks": texts(&key.access.networks),
        "create_time": time(key.create_time),
        "expire_time": key.expire_time.map(time),
        "revoke_time": key.revocation.as_ref().map(|revocation| time(revocation.time)),
        "revoke_reason": key.revocation.as_ref().map(|revocation| revocation.reason.as_str()),
        "created_by": key.created_by.as_str(),
        "created_by_subject": key.created_by_subject.as_ref().map(Subject::as_str),
        "secrets": key.secrets.iter().map(secret).collect::<Vec<_>>(),
    }))
}

/// The snapshot of an import: the number of imported keys and a hash over everything that was written for them. The
/// event has the same size for one key and for ten thousand. The chain covers only the hash: it is a commitment, and
/// later changes of the rows are not checked against it.
#[must_use]
pub fn of_import(account: &AccountId, keys: &[Key], now: Timestamp) -> String {
    let mut hasher = blake3::Hasher::new();
    for key in keys {
        let text = of_key(key, now);
        // The length prefix makes the encoding of the list unambiguous.
        hasher.update(&(text.len() as u64).to_be_bytes()).update(text.as_bytes());
        for secret in &key.secrets {
            hasher.update(&secret.scheme.number().to_be_bytes()).update(&secret.digest.0);
        }
    }
    let hash = ChainHash(*hasher.finalize().as_bytes());
    json!({ "account": account.as_str(), "key_count": keys.len(), "keys_hash": hash.to_string() }).to_string()
}

/// The snapshot of keys that are revoked together: their number and a hash over their IDs, in ascending order. As for an
/// import, the hash is a commitment. `has_more` records that the same call revokes more keys in a later change.
///
/// Keys of account `system` are listed: the log shows which callers have ended; see [`crate::actor_check`].
#[must_use]
pub fn of_revocation(account: &AccountId, ids: &[KeyId], reason: &str, has_more: bool) -> String {
    let mut ids: Vec<&str> = ids.iter().map(KeyId::as_str).collect();
    ids.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for id in &ids {
        hasher.update(&(id.len() as u64).to_be_bytes()).update(id.as_bytes());
    }
    let hash = ChainHash(*hasher.finalize().as_bytes());
    without_nulls(json!({
        "account": account.as_str(),
        "key_count": ids.len(),
        "keys_hash": hash.to_string(),
        "key_ids": account.is_system().then_some(&ids),
        "reason": reason,
        "has_more": has_more,
    }))
}

/// Reads the IDs of callers' keys from a snapshot that [`of_revocation`] made; empty for any other text.
#[must_use]
pub fn revoked_ids(text: &str) -> Vec<String> {
    let snapshot: Value = serde_json::from_str(text).unwrap_or_default();
    let ids = snapshot.get("key_ids").and_then(Value::as_array);
    ids.into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// Reads the number of keys and `has_more` from a snapshot that [`of_revocation`] made. None for any other text.
#[must_use]
pub fn read_revocation(text: &str) -> Option<(u64, bool)> {
    let snapshot: Value = serde_json::from_str(text).ok()?;
    Some((snapshot.get("key_count")?.as_u64()?, snapshot.get("has_more")?.as_bool()?))
}

/// The snapshot of a portal session: who may do what in which account, which scopes keys may get (None: any), and until
/// when. `id` identifies the session.
#[must_use]
pub fn of_portal_session(
    id: &str,
    account: &AccountId,
    subject: &Subject,
    may: &BTreeSet<PortalAction>,
    allowed_scopes: Option<&BTreeSet<Scope>>,
    end: Timestamp,
) -> String {
    without_nulls(json!({
        "session_id": id,
        "account": account.as_str(),
        "subject": subject.as_str(),
        "may": may.iter().map(|action| action.as_str()).collect::<Vec<_>>(),
        "allowed_scopes": allowed_scopes.map(|only| json!({ "only": texts(only) })),
        "expire_time": time(end),
    }))
}

/// The snapshot of an account.
#[must_use]
pub fn of_account(account: &Account) -> String {
    without_nulls(json!({
        "id": account.id.as_str(),
        "display_name": account.display_name,
        "state": if account.suspended { "ACCOUNT_STATE_SUSPENDED" } else { "ACCOUNT_STATE_ACTIVE" },
        "policy": policy(&account.policy),
        "create_time": time(account.create_time),
    }))
}

fn secret(secret: &Secret) -> Value {
    json!({
        "version": secret.version,
        "token_hint": secret.hint,
        "create_time": time(secret.create_time),
        "retire_time": secret.retire_time.map(time),
    })
}

fn policy(policy: &KeyPolicy) -> Value {
    let seconds = |duration: std::time::Duration| format!("{}s", duration.as_secs_f64());
    json!({
        "token_prefix": policy.token_prefix.as_str(),
        "display_name_pattern": policy.display_name_pattern.as_ref().map(super::account::NamePattern::as_str),
        "max_keys": policy.max_keys,
        "counted_states": match policy.counted {
            CountedKeys::All => "COUNTED_STATES_ALL",
            CountedKeys::Active => "COUNTED_STATES_ACTIVE",
        },
        "lifetimes": policy.lifetimes.allowed.iter().copied().map(seconds).collect::<Vec<_>>(),
        "default_lifetime": policy.lifetimes.default.map(seconds),
        "may_never_expire": policy.lifetimes.may_never_expire,
        "project_rule": match policy.project_rule {
            ProjectRule::Free => "PROJECT_RULE_UNSPECIFIED",
            ProjectRule::All => "PROJECT_RULE_ALL",
            ProjectRule::Chosen => "PROJECT_RULE_CHOSEN",
        },
        "recoverable": policy.recoverable,
        "recently_used_window": policy.recently_used_window.map(seconds),
        "max_overlap": policy.max_overlap.map(seconds),
        "caller_digests": policy.caller_digests,
        "holder_may_revoke": policy.holder.may_revoke,
        "holder_may_renew": policy.holder.may_renew,
    })
}

fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}

fn time(time: Timestamp) -> String {
    time.to_string()
}

/// Serializes `value` without null fields, at every depth.
fn without_nulls(value: Value) -> String {
    fn strip(value: Value) -> Value {
        match value {
            Value::Object(fields) => Value::Object(
                fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, strip(v))).collect::<Map<_, _>>(),
            ),
            Value::Array(items) => Value::Array(items.into_iter().map(strip).collect()),
            other => other,
        }
    }
    strip(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::ExpiryChoice;
    use crate::id::Revision;
    use crate::key::MintedSecret;
    use crate::key::tests::{NOW, account, minted, new_key};

    #[test]
    fn a_snapshot_contains_no_secret_and_no_null() {
        let account = account(KeyPolicy::default());
        let minted = MintedSecret { sealed: Some(b"sealed".to_vec()), ..minted(0xab) };
        let key = Key::create(&account, new_key(ExpiryChoice::Never), minted, NOW, Revision(2)).unwrap();
        let text = of_key(&key, NOW);
        assert!(
            !text.contains("null") && !text.contains("digest") && !text.contains("sealed") && !text.contains("171")
        );
        assert!(text.contains("\"token_hint\":\"key_aaaa\"") && text.contains("KEY_STATE_ACTIVE"), "{text}");
        let import = |keys: &[Key]| of_import(&account.id, keys, NOW);
        let other = Key { disabled: true, ..key.clone() };
        let of_one = import(std::slice::from_ref(&key));
        assert!(of_one.contains("\"key_count\":1") && !of_one.contains("key_1"), "{of_one}");
        assert!(of_one != import(&[other]) && of_one != import(&[key.clone(), key.clone()]), "{of_one}");
        assert!(of_account(&account).contains("\"token_prefix\":\"ka_\"") && !of_account(&account).contains("null"));
    }

    #[test]
    fn a_snapshot_of_revoked_keys_commits_to_the_set() {
        let account = AccountId::new("acme").unwrap();
        let of = |ids: &[&str], has_more| {
            let ids: Vec<_> = ids.iter().map(|id| KeyId::new(id).unwrap()).collect();
            of_revocation(&account, &ids, "left", has_more)
        };
        let text = of(&["a", "b"], true);
        assert_eq!(read_revocation(&text), Some((2, true)));
        assert_eq!(read_revocation(&of(&["a"], false)), Some((1, false)));
        assert_ne!(of(&["ab", "c"], false), of(&["a", "bc"], false));
        assert_eq!(read_revocation("{}"), None);
        assert_eq!(read_revocation("no JSON"), None);
        assert_eq!(of(&["b", "a"], true), text, "the order is that of the IDs");
        assert_eq!(revoked_ids(&text), [""; 0], "keys are not named");
        let system = of_revocation(&AccountId::system(), &[KeyId::new("ci").unwrap()], "", false);
        assert_eq!(revoked_ids(&system), ["ci"]);
    }
}
