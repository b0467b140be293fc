//! Labels of a key, and their limits.

use std::collections::BTreeMap;

use crate::text::{TextRule, ValidationError};

/// Maximum number of labels of a key.
pub const LABELS_MAX: usize = 64;
const LABEL_VALUE: TextRule = TextRule::line(256);

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// Checks labels against their limits.
///
/// # Errors
/// The rule that the labels break.
pub fn check_labels(labels: &Labels) -> Result<(), ValidationError> {
    if labels.len() > LABELS_MAX {
        return Err(ValidationError::new(format!("must be at most {LABELS_MAX} labels")));
    }
    let is_name = |name: &str| {
        (1..=63).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
    };
    if !labels.keys().all(|name| is_name(name)) {
        return Err(ValidationError::new("must have names of 1 to 63 ASCII letters, digits, '.', '_', '/' or '-'"));
    }
    labels.values().try_for_each(|value| {
        LABEL_VALUE.check(value).map_err(|rule| ValidationError::new(format!("must have values that each {rule}")))
    })
}
