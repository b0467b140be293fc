//! Updates of keys.

use key_authority_domain::access::ProjectAccess;
use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::id::{KeyId, Revision};
use key_authority_domain::key::KeyChange;
use key_authority_domain::permission::Permission;
use key_authority_domain::text::{DESCRIPTION, DISPLAY_NAME};
use key_authority_proto::v1;

use crate::wire::access::{Holder, labels, networks, projects, scopes};
use crate::wire::check::Check;
use crate::wire::idempotency_key::idempotency_key;
use crate::wire::mask::Mask;
use crate::wire::violations::{REQUIRED, Violations};
use crate::wire::{revision, time};

/// The paths that an update mask may name.
pub(super) const PATHS: [&str; 7] =
    ["display_name", "description", "scopes", "projects", "labels", "allowed_networks", "expire_time"];

/// An update of a key.
#[derive(Debug, Clone)]
pub(crate) struct KeyUpdate {
    /// The key.
    pub key_id: KeyId,
    /// The change.
    pub change: KeyChange,
    /// The revision that the key must have; `None` to skip the check.
    pub etag: Option<Revision>,
    /// The idempotency key of the request.
    pub request: Option<IdempotencyKey>,
}

/// Reads an update of a key. Fields that the mask does not name are ignored, and may have any value.
///
/// The request does not name the key's account. Once the account is known to be `system`, the change goes through
/// [`check_caller_change`].
///
/// # Errors
/// The violations of the request.
pub(crate) fn key_change(request: &v1::UpdateKeyRequest) -> Result<KeyUpdate, Violations> {
    let mut check = Check::new();
    let mask = Mask::read(&mut check, request.update_mask.as_ref(), &PATHS);
    if request.key.is_none() {
        check.violation("key", REQUIRED);
    }
    let read = check.inside("key", |check| {
        let key = request.key.as_ref()?;
        let id = check.required("id", &key.id, KeyId::new);
        let change = change(check, key, mask);
        Some((id?, change))
    });
    let etag = revision::from_etag(&request.etag);
    let request = idempotency_key(&mut check, request);
    check.finish(|| {
        let (key_id, change) = read?;
        Some(KeyUpdate { key_id, change, etag, request })
    })
}

fn change(check: &mut Check, key: &v1::Key, mask: Mask<'_>) -> KeyChange {
    let mut change = KeyChange::default();
    if mask.names("display_name", !key.display_name.is_empty()) {
        change.display_name = Some(check.text("display_name", &key.display_name, DISPLAY_NAME));
    }
    if mask.names("description", !key.description.is_empty()) {
        change.description = Some(check.text("description", &key.description, DESCRIPTION));
    }
    if mask.names("scopes", !key.scopes.is_empty()) {
        change.scopes = Some(scopes(check, &key.scopes, Holder::Any));
    }
    if mask.names("projects", key.projects.is_some()) {
        change.projects = Some(projects(check, key.projects.as_ref(), Holder::Any));
    }
    if mask.names("labels", !key.labels.is_empty()) {
        change.labels = Some(labels(check, &key.labels));
    }
    if mask.names("allowed_networks", !key.allowed_networks.is_empty()) {
        change.networks = Some(networks(check, &key.allowed_networks));
    }
    if mask.names("expire_time", key.expire_time.is_some()) {
        let end = key.expire_time.as_ref();
        change.expire_time = Some(end.and_then(|end| check.field("expire_time", time::timestamp(end))));
    }
    change
}

/// Checks a change of a key of the account `system`: scopes must be permissions, and projects IDs of accounts.
///
/// # Errors
/// The violations of the change. Items are not named by their index: the sets do not have the order of the request any
/// more.
pub(crate) fn check_caller_change(change: &KeyChange) -> Result<(), Violations> {
    let mut check = Check::new();
    check.inside("key", |check| {
        let wrong = change.scopes.iter().flatten().find_map(|scope| Permission::check(scope).err());
        if let Some(rule) = wrong {
            check.violation("scopes", rule.as_str());
        }
        if let Some(Some(ProjectAccess::Only(only))) = &change.projects {
            let wrong = only.iter().find_map(|project| Holder::Caller.project(project.as_str()).err());
            if let Some(rule) = wrong {
                check.violation("projects.only", rule.as_str());
            }
        }
    });
    check.finish(|| Some(()))
}
