//! The collector of all violations of a request.

use std::fmt;

use key_authority_domain::text::{TextRule, ValidationError};

use super::violations::{REQUIRED, VIOLATIONS_MAX, Violation, Violations};

/// Validates a request as a whole. Each check returns its value or records a violation; [`Check::finish`] returns all
/// values or all violations. Paths are formatted only for violations.
#[derive(Debug, Default)]
pub(crate) struct Check(Violations);

impl Check {
    /// A check without violations.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Records that `field` violates `rule`.
    pub(crate) fn violation(&mut self, field: impl fmt::Display, rule: impl Into<String>) {
        if self.0.found.len() < VIOLATIONS_MAX {
            self.0.found.push(Violation { field: field.to_string(), rule: rule.into() });
        } else {
            self.0.left_off += 1;
        }
    }

    /// Returns the value of `field`, unless it is invalid.
    pub(crate) fn field<T>(&mut self, field: impl fmt::Display, value: Result<T, ValidationError>) -> Option<T> {
        value.map_err(|rule| self.violation(field, rule.as_str())).ok()
    }

    /// Returns the value of an optional `field`; `None` if it is empty.
    pub(crate) fn optional<T>(
        &mut self,
        field: impl fmt::Display,
        text: &str,
        read: impl FnOnce(&str) -> Result<T, ValidationError>,
    ) -> Option<T> {
        if text.is_empty() { None } else { self.field(field, read(text)) }
    }

    /// Returns the value of `field`, which must not be empty.
    pub(crate) fn required<T>(
        &mut self,
        field: impl fmt::Display,
        text: &str,
        read: impl FnOnce(&str) -> Result<T, ValidationError>,
    ) -> Option<T> {
        self.field(field, if text.is_empty() { Err(ValidationError::new(REQUIRED)) } else { read(text) })
    }

    /// Returns the text of `field`.
    pub(crate) fn text(&mut self, field: impl fmt::Display, text: &str, rule: TextRule) -> String {
        self.field(field, rule.check(text)).map(|()| text.to_owned()).unwrap_or_default()
    }

    /// Checks the message in field `path`.
    pub(crate) fn inside<T>(&mut self, path: impl fmt::Display, read: impl FnOnce(&mut Self) -> T) -> T {
        let mut inner = Self::new();
        let value = read(&mut inner);
        self.absorb(inner.0.within(path));
        value
    }

    /// Adds violations that were found by another check.
    pub(crate) fn absorb(&mut self, violations: Violations) {
        self.0.left_off += violations.left_off;
        for Violation { field, rule } in violations.found {
            self.violation(field, rule);
        }
    }

    /// Returns the value of the request, if there is no violation. `value` may return `None` only if a check returned
    /// `None`.
    ///
    /// # Errors
    /// All violations.
    pub(crate) fn finish<T>(self, value: impl FnOnce() -> Option<T>) -> Result<T, Violations> {
        match value() {
            Some(value) if self.0.found.is_empty() => Ok(value),
            _ => Err(self.0),
        }
    }
}

/// Whether `text` has more than `max` characters. They are counted only if the number of bytes does not decide it.
pub(crate) fn is_longer(text: &str, max: usize) -> bool {
    text.len() > max && text.chars().nth(max).is_some()
}
