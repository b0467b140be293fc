//! The conversion of accounts to protobuf.

use key_authority_domain::account::{Account, CountedKeys, KeyPolicy, NamePattern, ProjectRule};
use key_authority_proto::v1;

use crate::wire::revision;
use crate::wire::time::{duration_to_proto, timestamp_to_proto};

/// Converts an account.
#[must_use]
pub(crate) fn account_to_proto(account: &Account) -> v1::Account {
    let state = if account.suspended { v1::AccountState::Suspended } else { v1::AccountState::Active };
    v1::Account {
        id: account.id.as_str().to_owned(),
        display_name: account.display_name.clone(),
        state: state as i32,
        policy: Some(policy_to_proto(&account.policy)),
        create_time: Some(timestamp_to_proto(account.create_time)),
        update_time: Some(timestamp_to_proto(account.update_time)),
        etag: revision::etag(account.revision),
    }
}

/// Converts a policy. Values that follow from other fields are written explicitly, so that the policy can be sent back
/// unchanged.
#[must_use]
pub(super) fn policy_to_proto(policy: &KeyPolicy) -> v1::KeyPolicy {
    let counted = match policy.counted {
        CountedKeys::All => v1::CountedStates::All,
        CountedKeys::Active => v1::CountedStates::Active,
    };
    let project_rule = match policy.project_rule {
        ProjectRule::Free => v1::ProjectRule::Unspecified,
        ProjectRule::All => v1::ProjectRule::All,
        ProjectRule::Chosen => v1::ProjectRule::Chosen,
    };
    v1::KeyPolicy {
        token_prefix: policy.token_prefix.as_str().to_owned(),
        display_name_pattern: policy
            .display_name_pattern
            .as_ref()
            .map(NamePattern::as_str)
            .unwrap_or_default()
            .to_owned(),
        max_keys: policy.max_keys.unwrap_or_default(),
        counted_states: counted as i32,
        lifetimes: policy.lifetimes.allowed.iter().copied().map(duration_to_proto).collect(),
        default_lifetime: policy.lifetimes.default.map(duration_to_proto),
        may_never_expire: policy.lifetimes.may_never_expire,
        project_rule: project_rule as i32,
        recoverable: policy.recoverable,
        recently_used_window: policy.recently_used_window.map(duration_to_proto),
        max_overlap: policy.max_overlap.map(duration_to_proto),
        caller_digests: policy.caller_digests,
        holder_may_revoke: policy.holder.may_revoke,
        holder_may_renew: policy.holder.may_renew,
    }
}
