//! Account rows. The policy is stored as JSON in a separate format, so that the domain type can change independently.

use std::time::Duration;

use key_authority_domain::account::{
    Account, CountedKeys, HolderRights, KeyPolicy, LifetimeRule, NamePattern, ProjectRule,
};
use key_authority_domain::id::{AccountId, Revision};
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenPrefix;
use sea_orm::ActiveValue::Set;
use serde::{Deserialize, Serialize};

use crate::entity::account;
use crate::error::StorageError;
use crate::mapping::RowContext;

#[derive(Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "fields as stored")]
struct PolicyJson {
    token_prefix: String,
    display_name_pattern: Option<String>,
    max_keys: Option<u32>,
    counts_active_only: bool,
    lifetimes_us: Vec<u64>,
    default_lifetime_us: Option<u64>,
    may_never_expire: Option<bool>,
    project_rule: ProjectRuleJson,
    recoverable: bool,
    recently_used_window_us: Option<u64>,
    max_overlap_us: Option<u64>,
    /// Absent in rows that earlier builds wrote, as are the fields below.
    #[serde(default)]
    caller_digests: bool,
    #[serde(default)]
    holder_may_revoke: bool,
    #[serde(default)]
    holder_may_renew: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ProjectRuleJson {
    Free,
    All,
    Chosen,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn policy_json(policy: &KeyPolicy) -> String {
    let json = PolicyJson {
        token_prefix: policy.token_prefix.as_str().to_owned(),
        display_name_pattern: policy.display_name_pattern.as_ref().map(|pattern| pattern.as_str().to_owned()),
        max_keys: policy.max_keys,
        counts_active_only: policy.counted == CountedKeys::Active,
        lifetimes_us: policy.lifetimes.allowed.iter().copied().map(micros).collect(),
        default_lifetime_us: policy.lifetimes.default.map(micros),
        may_never_expire: policy.lifetimes.may_never_expire,
        project_rule: match policy.project_rule {
            ProjectRule::Free => ProjectRuleJson::Free,
            ProjectRule::All => ProjectRuleJson::All,
            ProjectRule::Chosen => ProjectRuleJson::Chosen,
        },
        recoverable: policy.recoverable,
        recently_used_window_us: policy.recently_used_window.map(micros),
        max_overlap_us: policy.max_overlap.map(micros),
        caller_digests: policy.caller_digests,
        holder_may_revoke: policy.holder.may_revoke,
        holder_may_renew: policy.holder.may_renew,
    };
    serde_json::json!(json).to_string()
}

fn policy(row: RowContext<'_>, text: &str) -> Result<KeyPolicy, StorageError> {
    let json: PolicyJson = row.json("policy", text)?;
    let pattern = json.display_name_pattern.as_deref().map(NamePattern::stored).transpose();
    Ok(KeyPolicy {
        token_prefix: row.valid("policy", TokenPrefix::new(&json.token_prefix))?,
        display_name_pattern: row.valid("policy", pattern)?,
        max_keys: json.max_keys,
        counted: if json.counts_active_only { CountedKeys::Active } else { CountedKeys::All },
        lifetimes: LifetimeRule {
            allowed: json.lifetimes_us.into_iter().map(Duration::from_micros).collect(),
            default: json.default_lifetime_us.map(Duration::from_micros),
            may_never_expire: json.may_never_expire,
        },
        project_rule: match json.project_rule {
            ProjectRuleJson::Free => ProjectRule::Free,
            ProjectRuleJson::All => ProjectRule::All,
            ProjectRuleJson::Chosen => ProjectRule::Chosen,
        },
        recoverable: json.recoverable,
        recently_used_window: json.recently_used_window_us.map(Duration::from_micros),
        max_overlap: json.max_overlap_us.map(Duration::from_micros),
        caller_digests: json.caller_digests,
        holder: HolderRights { may_revoke: json.holder_may_revoke, may_renew: json.holder_may_renew },
    })
}

pub(crate) fn to_domain(model: account::Model) -> Result<Account, StorageError> {
    let row = RowContext { table: "account", id: &model.id };
    Ok(Account {
        id: row.valid("id", AccountId::new(&model.id))?,
        policy: policy(row, &model.policy)?,
        display_name: model.display_name,
        suspended: model.suspended,
        create_time: Timestamp::from_micros(model.create_time),
        update_time: Timestamp::from_micros(model.update_time),
        create_revision: Revision(model.create_revision),
        revision: Revision(model.revision),
    })
}

pub(crate) fn to_row(account: &Account) -> account::ActiveModel {
    account::ActiveModel {
        id: Set(account.id.as_str().to_owned()),
        display_name: Set(account.display_name.clone()),
        suspended: Set(account.suspended),
        policy: Set(policy_json(&account.policy)),
        create_time: Set(account.create_time.micros()),
        update_time: Set(account.update_time.micros()),
        create_revision: Set(account.create_revision.0),
        revision: Set(account.revision.0),
    }
}
