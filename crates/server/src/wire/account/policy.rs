//! Policies, as a whole and field by field.

use std::collections::BTreeSet;
use std::time::Duration;

use key_authority_domain::account::{
    CountedKeys, HolderRights, KeyPolicy, LIFETIMES_MAX, LifetimeRule, NamePattern, ProjectRule,
};
use key_authority_domain::policy_error::ChangeError;
use key_authority_domain::text::ValidationError;
use key_authority_domain::token::TokenPrefix;
use key_authority_proto::v1;

use crate::wire::check::Check;
use crate::wire::time;
use crate::wire::violations::Violations;

/// The change of one field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Edit<T> {
    /// Keep the current value.
    #[default]
    Keep,
    /// Set this value.
    Set(T),
}

impl<T: Clone> Edit<T> {
    fn or(self, before: &T) -> T {
        match self {
            Self::Keep => before.clone(),
            Self::Set(value) => value,
        }
    }
}

/// The change of a policy. A whole policy is a change of every field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PolicyChange {
    token_prefix: Edit<TokenPrefix>,
    display_name_pattern: Edit<Option<NamePattern>>,
    max_keys: Edit<Option<u32>>,
    counted: Edit<CountedKeys>,
    lifetimes: Edit<BTreeSet<Duration>>,
    default_lifetime: Edit<Option<Duration>>,
    /// `None`: derived from the lifetimes.
    may_never_expire: Edit<Option<bool>>,
    project_rule: Edit<ProjectRule>,
    recoverable: Edit<bool>,
    recently_used_window: Edit<Option<Duration>>,
    max_overlap: Edit<Option<Duration>>,
    caller_digests: Edit<bool>,
    holder_may_revoke: Edit<bool>,
    holder_may_renew: Edit<bool>,
}

impl PolicyChange {
    /// Reads the fields whose path, such as `policy.max_keys`, is `named`. A violation is recorded, and its field keeps
    /// its value.
    pub(crate) fn read(check: &mut Check, policy: &v1::KeyPolicy, named: impl Fn(&str) -> bool) -> Self {
        let mut change = Self::default();
        if named("policy.token_prefix") {
            let prefix = check.optional("token_prefix", &policy.token_prefix, TokenPrefix::new);
            change.token_prefix = Edit::Set(prefix.unwrap_or_default());
        }
        if named("policy.display_name_pattern") {
            let pattern = check.optional("display_name_pattern", &policy.display_name_pattern, NamePattern::new);
            change.display_name_pattern = Edit::Set(pattern);
        }
        if named("policy.max_keys") {
            change.max_keys = Edit::Set(Some(policy.max_keys).filter(|max| *max > 0));
        }
        if named("policy.counted_states") {
            change.counted = set(check.field("counted_states", counted(policy.counted_states)));
        }
        if named("policy.lifetimes") {
            change.lifetimes = Edit::Set(lifetimes(check, &policy.lifetimes));
        }
        if named("policy.default_lifetime") {
            let default = policy.default_lifetime.as_ref();
            let default = default.and_then(|default| check.field("default_lifetime", time::lifetime(default)));
            change.default_lifetime = Edit::Set(default);
        }
        if named("policy.may_never_expire") {
            change.may_never_expire = Edit::Set(policy.may_never_expire);
        }
        if named("policy.project_rule") {
            change.project_rule = set(check.field("project_rule", project_rule(policy.project_rule)));
        }
        if named("policy.recoverable") {
            change.recoverable = Edit::Set(policy.recoverable);
        }
        if named("policy.recently_used_window") {
            let window = optional_duration(check, "recently_used_window", policy.recently_used_window.as_ref());
            change.recently_used_window = Edit::Set(window.filter(|window| !window.is_zero()));
        }
        if named("policy.max_overlap") {
            change.max_overlap = Edit::Set(optional_duration(check, "max_overlap", policy.max_overlap.as_ref()));
        }
        if named("policy.caller_digests") {
            change.caller_digests = Edit::Set(policy.caller_digests);
        }
        if named("policy.holder_may_revoke") {
            change.holder_may_revoke = Edit::Set(policy.holder_may_revoke);
        }
        if named("policy.holder_may_renew") {
            change.holder_may_renew = Edit::Set(policy.holder_may_renew);
        }
        change
    }

    /// Returns the policy after the change of `before`; `None` when its lifetimes are invalid.
    pub(crate) fn onto(self, check: &mut Check, before: &KeyPolicy) -> Option<KeyPolicy> {
        let rule = &before.lifetimes;
        let may_never_expire = self.may_never_expire.or(&rule.may_never_expire);
        let lifetimes = LifetimeRule::new(
            self.lifetimes.or(&rule.allowed),
            self.default_lifetime.or(&rule.default),
            may_never_expire,
        )
        .map_err(|error| absorb(check, error))
        .ok();
        Some(KeyPolicy {
            token_prefix: self.token_prefix.or(&before.token_prefix),
            display_name_pattern: self.display_name_pattern.or(&before.display_name_pattern),
            max_keys: self.max_keys.or(&before.max_keys),
            counted: self.counted.or(&before.counted),
            lifetimes: lifetimes?,
            project_rule: self.project_rule.or(&before.project_rule),
            recoverable: self.recoverable.or(&before.recoverable),
            recently_used_window: self.recently_used_window.or(&before.recently_used_window),
            max_overlap: self.max_overlap.or(&before.max_overlap),
            caller_digests: self.caller_digests.or(&before.caller_digests),
            holder: HolderRights {
                may_revoke: self.holder_may_revoke.or(&before.holder.may_revoke),
                may_renew: self.holder_may_renew.or(&before.holder.may_renew),
            },
        })
    }
}

fn set<T>(value: Option<T>) -> Edit<T> {
    value.map_or(Edit::Keep, Edit::Set)
}

/// Records an error of the lifetimes. It always names a field; a policy error is not possible.
fn absorb(check: &mut Check, error: ChangeError) {
    match Violations::rejected(error) {
        Ok(violations) => check.absorb(violations),
        Err(error) => check.violation("lifetimes", error.to_string()),
    }
}

fn lifetimes(check: &mut Check, given: &[prost_types::Duration]) -> BTreeSet<Duration> {
    let mut allowed = BTreeSet::new();
    for (index, lifetime) in given.iter().enumerate() {
        allowed.extend(check.field(format_args!("lifetimes[{index}]"), time::lifetime(lifetime)));
        // One item too many is enough for the domain to reject the set.
        if allowed.len() > LIFETIMES_MAX {
            break;
        }
    }
    allowed
}

fn optional_duration(check: &mut Check, field: &str, value: Option<&prost_types::Duration>) -> Option<Duration> {
    value.and_then(|value| check.field(field, time::duration(value)))
}

fn counted(number: i32) -> Result<CountedKeys, ValidationError> {
    match v1::CountedStates::try_from(number) {
        Ok(v1::CountedStates::Unspecified | v1::CountedStates::All) => Ok(CountedKeys::All),
        Ok(v1::CountedStates::Active) => Ok(CountedKeys::Active),
        Err(_) => Err(ValidationError::new("must be COUNTED_STATES_ACTIVE or COUNTED_STATES_ALL")),
    }
}

fn project_rule(number: i32) -> Result<ProjectRule, ValidationError> {
    match v1::ProjectRule::try_from(number) {
        Ok(v1::ProjectRule::Unspecified) => Ok(ProjectRule::Free),
        Ok(v1::ProjectRule::All) => Ok(ProjectRule::All),
        Ok(v1::ProjectRule::Chosen) => Ok(ProjectRule::Chosen),
        Err(_) => Err(ValidationError::new("must be PROJECT_RULE_ALL or PROJECT_RULE_CHOSEN, or omitted")),
    }
}
