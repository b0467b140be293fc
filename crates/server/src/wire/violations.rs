//! The violations of a request.

use std::fmt;

use key_authority_domain::policy_error::{ChangeError, PolicyError};

/// The maximum number of violations in a response. They are sent in a header, and common clients drop a call whose
/// headers exceed 8 KiB: a caller with more violations gets the first ones and the number of the others.
pub(crate) const VIOLATIONS_MAX: usize = 16;
/// The number of violations in the message, which is sent beside the list.
const SPELT_OUT_MAX: usize = 4;

/// The rule of a required field.
pub(crate) const REQUIRED: &str = "must be set: it is required";

/// A field that violates a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, as the request names it: `scopes[3]`, `key.display_name`, `requests[7].client_ip`.
    pub field: String,
    /// The rule, a sentence fragment that starts with "must". It never contains the value.
    pub rule: String,
}

/// All violations of a request: field paths as the request names them, each with its rule. They never contain a value,
/// which may be a secret in the wrong field.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
pub struct Violations {
    pub(super) found: Vec<Violation>,
    pub(super) left_off: usize,
}

impl Violations {
    /// Makes a single violation.
    #[must_use]
    pub fn one(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { found: vec![Violation { field: field.into(), rule: rule.into() }], left_off: 0 }
    }

    /// Converts an error of the domain to a violation, if it is about a field. The domain does not know in which
    /// message of the request the field is: [`Violations::within`] adds that.
    ///
    /// # Errors
    /// The policy error, when the policy or the state does not allow the change.
    pub fn rejected(error: ChangeError) -> Result<Self, PolicyError> {
        match error {
            ChangeError::Invalid { field, rule } => Ok(Self::one(field, rule.as_str())),
            ChangeError::Refused(error) => Err(error),
        }
    }

    /// Returns the same violations for a message in field `path`: `client_ip` in `requests[7]` becomes
    /// `requests[7].client_ip`.
    #[must_use]
    pub fn within(mut self, path: impl fmt::Display) -> Self {
        for violation in &mut self.found {
            violation.field = format!("{path}.{}", violation.field);
        }
        self
    }

    /// Returns the violations, in the order of the fields; at most [`VIOLATIONS_MAX`].
    pub fn iter(&self) -> std::slice::Iter<'_, Violation> {
        self.found.iter()
    }

    /// Returns how many violations there are beyond those of [`Violations::iter`].
    #[must_use]
    pub const fn left_off(&self) -> usize {
        self.left_off
    }
}

impl<'a> IntoIterator for &'a Violations {
    type Item = &'a Violation;
    type IntoIter = std::slice::Iter<'a, Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Violations {
    type Item = Violation;
    type IntoIter = std::vec::IntoIter<Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.into_iter()
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Violation { field, rule }) in self.found.iter().take(SPELT_OUT_MAX).enumerate() {
            write!(f, "{}{field} {rule}", if index == 0 { "" } else { "; " })?;
        }
        match self.found.len().saturating_sub(SPELT_OUT_MAX) + self.left_off {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::check::Check;
    use key_authority_domain::id::KeyId;
    use key_authority_domain::text::DISPLAY_NAME;

    #[test]
    fn all_violations_are_reported_at_once_and_no_value_is_repeated() {
        let mut check = Check::new();
        let id = check.field("key_id", KeyId::new("canary id"));
        let name = check.text("display_name", "canary\0", DISPLAY_NAME);
        check.inside(format_args!("requests[{}]", 7), |check| check.violation("client_ip", "must be an address"));
        let violations = check.finish(|| Some((id?, name))).unwrap_err();
        let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["key_id", "display_name", "requests[7].client_ip"]);
        assert!(!violations.to_string().contains("canary"), "{violations}");
    }

    #[test]
    fn without_violations_the_value_is_returned() {
        let mut check = Check::new();
        let id = check.optional("key_id", "", KeyId::new);
        assert_eq!(check.finish(|| Some(id)), Ok(None));
    }

    #[test]
    fn missing_and_invalid_fields_have_different_rules() {
        let rule = |text| {
            let mut check = Check::new();
            let id = check.required("account", text, KeyId::new);
            check.finish(|| id).unwrap_err().to_string()
        };
        assert_eq!(rule(""), "account must be set: it is required");
        assert!(rule("no id").starts_with("account must be 1 to 64 characters"));
    }

    #[test]
    fn beyond_the_limit_violations_are_counted_only() {
        let mut check = Check::new();
        check.inside("outer", |check| {
            for index in 0..=VIOLATIONS_MAX {
                check.violation(format_args!("scopes[{index}]"), "must be less");
            }
        });
        check.violation("last", "must be less");
        let violations = check.finish(|| Some(())).unwrap_err();
        assert_eq!((violations.iter().count(), violations.left_off()), (VIOLATIONS_MAX, 2));
        assert!(violations.to_string().ends_with("; outer.scopes[3] must be less; and 14 more"), "{violations}");
    }

    #[test]
    fn a_domain_error_is_a_violation_only_if_it_names_a_field() {
        let violations = Violations::rejected(ChangeError::invalid("expire_time", "must be in the future")).unwrap();
        assert_eq!(violations.within("key").to_string(), "key.expire_time must be in the future");
        assert_eq!(Violations::rejected(PolicyError::KeyRevoked.into()), Err(PolicyError::KeyRevoked));
    }
}
