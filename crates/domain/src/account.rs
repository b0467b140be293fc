//! Accounts, and the policy for the keys of an account.

mod name_pattern;

use std::collections::BTreeSet;
use std::time::Duration;

pub use name_pattern::NamePattern;

use crate::access::ProjectAccess;
use crate::id::{AccountId, Revision};
use crate::policy_error::{ChangeError, PolicyError};
use crate::time::{LIFETIME_MAX, LIFETIME_MIN, Timestamp};
use crate::token::TokenPrefix;

/// Maximum number of entries in a policy's `lifetimes`.
pub const LIFETIMES_MAX: usize = 32;
/// Maximum overlap of two secrets if the policy sets none: 30 days.
pub const OVERLAP_DEFAULT: Duration = Duration::from_hours(720);

/// An owner of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The ID. It never changes.
    pub id: AccountId,
    /// A name for people.
    pub display_name: String,
    /// Whether the account is suspended. Verify denies all keys of a suspended account.
    pub suspended: bool,
    /// The policy for the account's keys.
    pub policy: KeyPolicy,
    /// Time of the creation.
    pub create_time: Timestamp,
    /// Time of the last change.
    pub update_time: Timestamp,
    /// The revision that created the account.
    pub create_revision: Revision,
    /// The revision that last changed the account. It is the etag.
    pub revision: Revision,
}

/// The policy for the keys of an account. It is checked when a key is created or changed. Existing keys do not change
/// with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyPolicy {
    /// Prefix of new tokens.
    pub token_prefix: TokenPrefix,
    /// Pattern that a display name must contain.
    pub display_name_pattern: Option<NamePattern>,
    /// Maximum number of keys.
    pub max_keys: Option<u32>,
    /// Which keys `max_keys` counts.
    pub counted: CountedKeys,
    /// Allowed lifetimes.
    pub lifetimes: LifetimeRule,
    /// Allowed projects.
    pub project_rule: ProjectRule,
    /// Whether tokens are stored encrypted, so that they can be revealed later.
    pub recoverable: bool,
    /// A key that was used within this time is deleted only with `allow_recently_used`. None: no protection.
    pub recently_used_window: Option<Duration>,
    /// Maximum time for which the old secret stays valid after a renewal. None: [`OVERLAP_DEFAULT`].
    pub max_overlap: Option<Duration>,
    /// Whether callers may make tokens themselves and send only a digest.
    pub caller_digests: bool,
    /// What the holder of a token may do with its own key.
    pub holder: HolderRights,
}

/// What the holder of a token may do with its key, through a caller that may only verify tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HolderRights {
    /// Revoke it.
    pub may_revoke: bool,
    /// Renew it.
    pub may_renew: bool,
}

/// Which keys count towards `max_keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CountedKeys {
    /// All keys in any state.
    #[default]
    All,
    /// Active keys only: neither disabled, revoked nor expired.
    Active,
}

/// Which projects a key may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProjectRule {
    /// A key may list projects. Without a list it covers all projects.
    #[default]
    Free,
    /// Every key covers all projects.
    All,
    /// Each key lists its projects. Without a list it covers none.
    Chosen,
}

/// The lifetimes that keys may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifetimeRule {
    /// Allowed lifetimes. Empty: any.
    pub allowed: BTreeSet<Duration>,
    /// Lifetime of a key for which the request sets none.
    pub default: Option<Duration>,
    /// Whether a key may never expire, if the policy sets it. See [`LifetimeRule::allows_never`].
    pub may_never_expire: Option<bool>,
}

impl Default for LifetimeRule {
    /// Any lifetime, or no expiry.
    fn default() -> Self {
        Self { allowed: BTreeSet::new(), default: None, may_never_expire: None }
    }
}

/// The expiry that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiryChoice {
    /// The request sets none.
    Unspecified,
    /// After this duration.
    Lifetime(Duration),
    /// At this instant.
    At(Timestamp),
    /// Never.
    Never,
}

impl LifetimeRule {
    /// Validates the fields of a rule.
    ///
    /// # Errors
    /// The field that is invalid, relative to the policy, and the rule that it breaks.
    pub fn new(
        allowed: BTreeSet<Duration>,
        default: Option<Duration>,
        may_never_expire: Option<bool>,
    ) -> Result<Self, ChangeError> {
        if allowed.len() > LIFETIMES_MAX {
            return Err(ChangeError::invalid("lifetimes", format!("must be at most {LIFETIMES_MAX} durations")));
        }
        if let Some(index) = allowed.iter().position(|lifetime| !is_lifetime(*lifetime)) {
            return Err(ChangeError::invalid(format!("lifetimes[{index}]"), LIFETIME_RULE));
        }
        if let Some(default) = default {
            if !is_lifetime(default) {
                return Err(ChangeError::invalid("default_lifetime", LIFETIME_RULE));
            }
            if !allowed.is_empty() && !allowed.contains(&default) {
                return Err(ChangeError::invalid("default_lifetime", "must be one of the policy's lifetimes"));
            }
        }
        Ok(Self { allowed, default, may_never_expire })
    }

    /// Whether a key may never expire. If `may_never_expire` is not set: only if no lifetimes are set either.
    #[must_use]
    pub fn allows_never(&self) -> bool {
        self.may_never_expire.unwrap_or(self.allowed.is_empty() && self.default.is_none())
    }

    /// The expiry of a key that is created or renewed at `from`.
    ///
    /// # Errors
    /// `LIFETIME_NOT_ALLOWED`, or an invalid field.
    pub fn choose(&self, choice: ExpiryChoice, from: Timestamp) -> Result<Option<Timestamp>, ChangeError> {
        match choice {
            ExpiryChoice::Unspecified => match (self.default, self.allowed.first()) {
                (Some(lifetime), _) => Ok(Some(from.after(lifetime))),
                (None, Some(only)) if self.allowed.len() == 1 => Ok(Some(from.after(*only))),
                _ => self.check(None, from),
            },
            ExpiryChoice::Lifetime(lifetime) if !is_lifetime(lifetime) => {
                Err(ChangeError::invalid("lifetime", LIFETIME_RULE))
            }
            ExpiryChoice::Lifetime(lifetime) => self.check(Some(from.after(lifetime)), from),
            ExpiryChoice::At(end) => self.check(Some(end), from),
            ExpiryChoice::Never => self.check(None, from),
        }
    }

    /// Checks an expiry relative to `from`, the time of the key's creation or renewal.
    ///
    /// # Errors
    /// `LIFETIME_NOT_ALLOWED`.
    pub fn check(&self, end: Option<Timestamp>, from: Timestamp) -> Result<Option<Timestamp>, ChangeError> {
        let is_allowed = match end {
            None => self.allows_never(),
            Some(end) => self.allowed.is_empty() || self.allowed.contains(&end.since(from)),
        };
        if is_allowed { Ok(end) } else { Err(self.not_allowed()) }
    }

    fn not_allowed(&self) -> ChangeError {
        let mut allowed: Vec<String> = self.allowed.iter().copied().map(format_lifetime).collect();
        if self.allowed.is_empty() {
            allowed.push("any lifetime".into());
        }
        if self.allows_never() {
            allowed.push("never_expires".into());
        }
        PolicyError::LifetimeNotAllowed { allowed: format!("it allows {}", allowed.join(", ")) }.into()
    }
}

/// Formats a lifetime in days if it is a whole number of days, otherwise in seconds.
fn format_lifetime(lifetime: Duration) -> String {
    match (lifetime.subsec_nanos(), lifetime.as_secs() % 86_400, lifetime.as_secs() / 86_400) {
        (0, 0, 1) => "1 day".into(),
        (0, 0, days) => format!("{days} days"),
        _ => format!("{} s", lifetime.as_secs_f64()),
    }
}

const LIFETIME_RULE: &str = "must be 1 second to 100 years";

fn is_lifetime(lifetime: Duration) -> bool {
    (LIFETIME_MIN..=LIFETIME_MAX).contains(&lifetime)
}

impl KeyPolicy {
    /// Checks the display name of a key.
    ///
    /// # Errors
    /// The pattern that the name does not match.
    pub fn check_display_name(&self, name: &str) -> Result<(), ChangeError> {
        match &self.display_name_pattern {
            Some(pattern) if !pattern.is_match(name) => Err(ChangeError::invalid(
                "display_name",
                format!("must match the pattern {} of the account's policy", pattern.as_str()),
            )),
            _ => Ok(()),
        }
    }

    /// The projects of a key for which the request sets `wanted`.
    ///
    /// # Errors
    /// `PROJECTS_NOT_ALLOWED`.
    pub fn choose_projects(&self, wanted: Option<ProjectAccess>) -> Result<ProjectAccess, PolicyError> {
        match (self.project_rule, wanted) {
            (ProjectRule::Free | ProjectRule::All, None | Some(ProjectAccess::All)) => Ok(ProjectAccess::All),
            (ProjectRule::Free | ProjectRule::Chosen, Some(only @ ProjectAccess::Only(_))) => Ok(only),
            (ProjectRule::Chosen, None) => Ok(ProjectAccess::Only(BTreeSet::new())),
            (ProjectRule::All, Some(ProjectAccess::Only(_))) => {
                Err(PolicyError::ProjectsNotAllowed { rule: "every key covers all projects; leave projects out" })
            }
            (ProjectRule::Chosen, Some(ProjectAccess::All)) => {
                Err(PolicyError::ProjectsNotAllowed { rule: "each key lists its own projects; set projects.only" })
            }
        }
    }

    /// Checks the overlap of a renewal.
    ///
    /// # Errors
    /// `OVERLAP_NOT_ALLOWED`.
    pub fn check_overlap(&self, overlap: Duration) -> Result<(), PolicyError> {
        let max = self.max_overlap.unwrap_or(OVERLAP_DEFAULT);
        if overlap > max { Err(PolicyError::OverlapNotAllowed { max }) } else { Ok(()) }
    }

    /// Checks that a caller may bring the digest of a token that it made.
    ///
    /// # Errors
    /// `DIGEST_NOT_ALLOWED`.
    pub fn check_digest(&self) -> Result<(), PolicyError> {
        if self.caller_digests { Ok(()) } else { Err(PolicyError::DigestNotAllowed) }
    }

    /// Checks that one more key is allowed if `count` keys exist.
    ///
    /// # Errors
    /// `KEY_LIMIT_REACHED`.
    pub fn check_room(&self, count: u64) -> Result<(), PolicyError> {
        match self.max_keys {
            Some(max) if count >= u64::from(max) => {
                Err(PolicyError::KeyLimitReached { max, active_only: self.counted == CountedKeys::Active })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);
    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    fn rule(days: &[u32], default: Option<u32>, never: Option<bool>) -> LifetimeRule {
        LifetimeRule::new(days.iter().map(|d| DAY * *d).collect(), default.map(|d| DAY * d), never).unwrap()
    }

    fn is_rejected(result: &Result<Option<Timestamp>, ChangeError>) -> bool {
        matches!(result, Err(ChangeError::Refused(PolicyError::LifetimeNotAllowed { .. })))
    }

    #[test]
    fn a_single_lifetime_is_the_default_and_the_only_choice() {
        let meko = rule(&[365], None, None);
        assert_eq!(meko.choose(ExpiryChoice::Unspecified, NOW), Ok(Some(NOW.after(DAY * 365))));
        assert_eq!(meko.choose(ExpiryChoice::Lifetime(DAY * 365), NOW), Ok(Some(NOW.after(DAY * 365))));
        for other in [ExpiryChoice::Lifetime(DAY * 364), ExpiryChoice::Never, ExpiryChoice::At(NOW.after(DAY))] {
            assert!(is_rejected(&meko.choose(other, NOW)), "{other:?}");
        }
    }

    #[test]
    fn an_empty_policy_allows_every_lifetime() {
        let free = LifetimeRule::new(BTreeSet::new(), None, None).unwrap();
        assert_eq!(free, LifetimeRule::default());
        assert_eq!(free.choose(ExpiryChoice::Unspecified, NOW), Ok(None));
        assert_eq!(free.choose(ExpiryChoice::Never, NOW), Ok(None));
        assert!(matches!(free.choose(ExpiryChoice::Lifetime(Duration::ZERO), NOW), Err(ChangeError::Invalid { .. })));
    }

    #[test]
    fn several_lifetimes_without_a_default_require_a_choice() {
        assert!(is_rejected(&rule(&[7, 30], None, Some(false)).choose(ExpiryChoice::Unspecified, NOW)));
        assert_eq!(rule(&[7, 30], None, Some(true)).choose(ExpiryChoice::Unspecified, NOW), Ok(None));
        assert_eq!(rule(&[7], None, Some(true)).choose(ExpiryChoice::Unspecified, NOW), Ok(Some(NOW.after(DAY * 7))));
        assert!(LifetimeRule::new([DAY].into(), Some(DAY * 2), None).is_err());
    }

    #[test]
    fn project_rules() {
        let with = |project_rule| KeyPolicy { project_rule, ..KeyPolicy::default() };
        let none = || ProjectAccess::Only(BTreeSet::new());
        assert_eq!(with(ProjectRule::All).choose_projects(None), Ok(ProjectAccess::All));
        assert_eq!(with(ProjectRule::Chosen).choose_projects(None), Ok(none()));
        assert!(with(ProjectRule::All).choose_projects(Some(none())).is_err());
        assert!(with(ProjectRule::Chosen).choose_projects(Some(ProjectAccess::All)).is_err());
        assert_eq!(with(ProjectRule::Free).choose_projects(Some(none())), Ok(none()));
    }

    #[test]
    fn patterns_are_searched_and_bounded() {
        let mecha = KeyPolicy { display_name_pattern: NamePattern::new("^[A-Za-z]").ok(), ..KeyPolicy::default() };
        assert!(mecha.check_display_name("ci").is_ok());
        for bad in ["", "1ci", "-ci", " ci"] {
            let error = mecha.check_display_name(bad).unwrap_err().to_string();
            assert!(error.starts_with("display_name must match the pattern ^[A-Za-z]"), "{error}");
        }
        for bad in ["(", "a{1000}{1000}", &"a".repeat(257), "\\w{5000}"] {
            assert!(NamePattern::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn max_keys_is_the_last_allowed_count() {
        let policy = KeyPolicy { max_keys: Some(10), ..KeyPolicy::default() };
        assert!(policy.check_room(9).is_ok());
        assert!(policy.check_room(10).is_err());
        assert!(KeyPolicy::default().check_room(u64::MAX).is_ok());
    }
}
