//! The conversion of keys to protobuf.

use key_authority_domain::id::Subject;
use key_authority_domain::key::{Key, KeyState, Secret};
use key_authority_domain::time::Timestamp;
use key_authority_proto::v1;

use crate::wire::access::{networks_to_proto, projects_to_proto, scopes_to_proto};
use crate::wire::revision;
use crate::wire::time::timestamp_to_proto;

/// Converts a key, in its state at `now`.
#[must_use]
pub(crate) fn key_to_proto(key: &Key, now: Timestamp) -> v1::Key {
    let revocation = key.revocation.as_ref();
    v1::Key {
        id: key.id.as_str().to_owned(),
        account: key.account.as_str().to_owned(),
        display_name: key.display_name.clone(),
        description: key.description.clone(),
        state: state_to_proto(key.state(now)) as i32,
        token_hint: key.newest_secret().map(|secret| secret.hint.clone()).unwrap_or_default(),
        scopes: scopes_to_proto(&key.access),
        projects: Some(projects_to_proto(&key.access.projects)),
        labels: key.labels.clone(),
        allowed_networks: networks_to_proto(&key.access),
        create_time: Some(timestamp_to_proto(key.create_time)),
        update_time: Some(timestamp_to_proto(key.update_time)),
        expire_time: key.expire_time.map(timestamp_to_proto),
        last_used_time: key.usage.last_used_time.map(timestamp_to_proto),
        use_count: key.usage.use_count,
        revoke_time: revocation.map(|revocation| timestamp_to_proto(revocation.time)),
        revoke_reason: revocation.map(|revocation| revocation.reason.clone()).unwrap_or_default(),
        created_by: key.created_by.as_str().to_owned(),
        created_by_subject: key.created_by_subject.as_ref().map(Subject::as_str).unwrap_or_default().to_owned(),
        secrets: key.secrets.iter().rev().map(secret_to_proto).collect(),
        etag: revision::etag(key.revision),
    }
}

/// Converts a state; use `as i32` for the field.
#[must_use]
pub(super) const fn state_to_proto(state: KeyState) -> v1::KeyState {
    match state {
        KeyState::Active => v1::KeyState::Active,
        KeyState::Disabled => v1::KeyState::Disabled,
        KeyState::Revoked => v1::KeyState::Revoked,
        KeyState::Expired => v1::KeyState::Expired,
    }
}

fn secret_to_proto(secret: &Secret) -> v1::KeySecret {
    v1::KeySecret {
        version: secret.version,
        token_hint: secret.hint.clone(),
        create_time: Some(timestamp_to_proto(secret.create_time)),
        retire_time: secret.retire_time.map(timestamp_to_proto),
        last_used_time: secret.last_used_time.map(timestamp_to_proto),
    }
}
