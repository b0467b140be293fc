//! The flags of an account's policy.

use clap::{Args, ValueEnum};
use key_authority_proto::v1::{CountedStates, KeyPolicy, ProjectRule};
use prost_types::Duration;

use crate::fields;

/// The flags of a policy. A field without a flag gets the default of the authority, or stays unchanged.
#[derive(Debug, Args)]
#[command(next_help_heading = "Policy")]
pub(super) struct Policy {
    /// Prefix of new tokens, such as acme_
    #[arg(long, value_name = "PREFIX")]
    token_prefix: Option<String>,
    /// Regular expression that display names of keys must match
    #[arg(long, value_name = "REGEX")]
    display_name_pattern: Option<String>,
    /// Maximum number of keys; 0: no limit
    #[arg(long, value_name = "COUNT")]
    max_keys: Option<u32>,
    /// Which keys --max-keys counts
    #[arg(long, value_enum, value_name = "STATES")]
    counted_states: Option<Counted>,
    /// Allowed lifetime of keys, such as 365d; may be repeated
    #[arg(long, value_name = "LENGTH", value_parser = fields::duration)]
    lifetime: Vec<Duration>,
    /// Lifetime of keys that are created without an expiry
    #[arg(long, value_name = "LENGTH", value_parser = fields::duration)]
    default_lifetime: Option<Duration>,
    /// Whether keys without an expiry are allowed
    #[arg(long, value_name = "BOOL")]
    may_never_expire: Option<bool>,
    /// Whether all keys cover all projects, or each key lists its own
    #[arg(long, value_enum, value_name = "RULE")]
    project_rule: Option<Rule>,
    /// Whether tokens are stored encrypted, so that keyctl keys reveal can show them
    #[arg(long, value_name = "BOOL")]
    recoverable: Option<bool>,
    /// How long after its last use a key is protected from deletion, such as 24h
    #[arg(long, value_name = "LENGTH", value_parser = fields::duration)]
    recently_used_window: Option<Duration>,
    /// Maximum overlap of a renewal
    #[arg(long, value_name = "LENGTH", value_parser = fields::duration)]
    max_overlap: Option<Duration>,
    /// Whether callers may make tokens themselves and create keys with their digests
    #[arg(long, value_name = "BOOL")]
    caller_digests: Option<bool>,
    /// Whether a service that only verifies tokens may revoke the key of a token that it was given
    #[arg(long, value_name = "BOOL")]
    holder_may_revoke: Option<bool>,
    /// Whether a service that only verifies tokens may renew the key of a token that it was given
    #[arg(long, value_name = "BOOL")]
    holder_may_renew: Option<bool>,
}

/// Which keys count.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Counted {
    Active,
    All,
}

/// Which projects keys cover.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Rule {
    All,
    Chosen,
}

impl Policy {
    /// The policy, and the names of the fields that are set.
    pub(super) fn fields(self) -> (KeyPolicy, Vec<String>) {
        let set = [
            ("token_prefix", self.token_prefix.is_some()),
            ("display_name_pattern", self.display_name_pattern.is_some()),
            ("max_keys", self.max_keys.is_some()),
            ("counted_states", self.counted_states.is_some()),
            ("lifetimes", !self.lifetime.is_empty()),
            ("default_lifetime", self.default_lifetime.is_some()),
            ("may_never_expire", self.may_never_expire.is_some()),
            ("project_rule", self.project_rule.is_some()),
            ("recoverable", self.recoverable.is_some()),
            ("recently_used_window", self.recently_used_window.is_some()),
            ("max_overlap", self.max_overlap.is_some()),
            ("caller_digests", self.caller_digests.is_some()),
            ("holder_may_revoke", self.holder_may_revoke.is_some()),
            ("holder_may_renew", self.holder_may_renew.is_some()),
        ];
        let counted = self.counted_states.map_or(CountedStates::Unspecified, |counted| match counted {
            Counted::Active => CountedStates::Active,
            Counted::All => CountedStates::All,
        });
        let rule = self.project_rule.map_or(ProjectRule::Unspecified, |rule| match rule {
            Rule::All => ProjectRule::All,
            Rule::Chosen => ProjectRule::Chosen,
        });
        let policy = KeyPolicy {
            token_prefix: self.token_prefix.unwrap_or_default(),
            display_name_pattern: self.display_name_pattern.unwrap_or_default(),
            max_keys: self.max_keys.unwrap_or_default(),
            counted_states: counted.into(),
            lifetimes: self.lifetime,
            default_lifetime: self.default_lifetime,
            may_never_expire: self.may_never_expire,
            project_rule: rule.into(),
            recoverable: self.recoverable.unwrap_or_default(),
            recently_used_window: self.recently_used_window,
            max_overlap: self.max_overlap,
            caller_digests: self.caller_digests.unwrap_or_default(),
            holder_may_revoke: self.holder_may_revoke.unwrap_or_default(),
            holder_may_renew: self.holder_may_renew.unwrap_or_default(),
        };
        let paths = set.into_iter().filter(|(_, is_set)| *is_set).map(|(path, _)| format!("policy.{path}"));
        (policy, paths.collect())
    }
}
