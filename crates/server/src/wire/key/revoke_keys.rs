//! The keys to revoke together.

use key_authority_domain::access::PROJECT_LEN_MAX;
use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::id::{AccountId, Actor, KeyId};
use key_authority_domain::key::Labels;
use key_authority_domain::text::{self, ValidationError};
use key_authority_domain::time::Timestamp;
use key_authority_proto::v1;

use crate::wire::access::labels;
use crate::wire::check::{Check, is_longer};
use crate::wire::idempotency_key::idempotency_key;
use crate::wire::time;
use crate::wire::violations::Violations;

/// The maximum number of `key_ids`.
const KEY_IDS_MAX: usize = 1_000;

/// The keys to revoke: those of the account that match every field that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RevokeKeysSpec {
    /// The account.
    pub account: AccountId,
    /// The IDs of the keys; empty for all.
    pub ids: Vec<KeyId>,
    /// The labels that the keys have; empty for all.
    pub labels: Labels,
    /// The caller that created the keys.
    pub created_by: Option<Actor>,
    /// A project that the keys cover.
    pub project: Option<String>,
    /// The keys were created before this time.
    pub created_before: Option<Timestamp>,
    /// The reason; may be empty.
    pub reason: String,
    /// Whether to change nothing.
    pub dry_run: bool,
    /// The idempotency key of the request; `None` for a dry run.
    pub request: Option<IdempotencyKey>,
}

/// Reads the keys to revoke, and the reason.
///
/// # Errors
/// The violations of the request.
pub(crate) fn revoke_keys(request: &v1::RevokeKeysRequest) -> Result<RevokeKeysSpec, Violations> {
    let mut check = Check::new();
    let account = check.required("account", &request.account, AccountId::new);
    let ids = key_ids(&mut check, &request.key_ids);
    let labels = labels(&mut check, &request.labels);
    let created_by = request.created_by.as_ref();
    let created_by = created_by.and_then(|text| check.field("created_by", present(text).and_then(Actor::new)));
    let project = request.project.as_ref();
    let project = project.and_then(|text| check.field("project", present(text).and_then(project_name)));
    let created_before = request.create_time_before.as_ref();
    let created_before = created_before.and_then(|end| check.field("create_time_before", time::timestamp(end)));
    let reason = check.text("reason", &request.reason, text::REASON);
    let dry_run = request.dry_run;
    let request = if dry_run { None } else { idempotency_key(&mut check, request) };
    check.finish(|| {
        let account = account?;
        Some(RevokeKeysSpec { account, ids, labels, created_by, project, created_before, reason, dry_run, request })
    })
}

/// A filter that is present but empty comes from a template without its value. It must not select every key.
fn present(text: &str) -> Result<&str, ValidationError> {
    if text.is_empty() { Err(ValidationError::new("must not be empty; omit it to select every key")) } else { Ok(text) }
}

fn project_name(text: &str) -> Result<String, ValidationError> {
    if is_longer(text, PROJECT_LEN_MAX) {
        return Err(ValidationError::new(format!("must be at most {PROJECT_LEN_MAX} characters")));
    }
    Ok(text.to_owned())
}

fn key_ids(check: &mut Check, texts: &[String]) -> Vec<KeyId> {
    if texts.len() > KEY_IDS_MAX {
        check.violation("key_ids", format!("must be at most {KEY_IDS_MAX}"));
        return Vec::new();
    }
    let ids = texts.iter().enumerate();
    ids.filter_map(|(index, text)| check.field(format_args!("key_ids[{index}]"), KeyId::new(text))).collect()
}
