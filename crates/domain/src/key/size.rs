//! The size of a key: the bytes of all texts that its caller chooses.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use super::labels::Labels;
use crate::access::{Network, ProjectAccess, Scope};
use crate::text::ValidationError;

/// Maximum total size of a key's display name, description, scopes, projects, labels and networks, in bytes of UTF-8.
/// Every replica keeps every key in memory: a thousand keys with projects of 253 bytes each take about 50 MiB at this
/// limit. A thousand projects of 36 bytes each, such as UUIDs, still fit.
pub const KEY_BYTES_MAX: usize = 40 * 1024;

/// The texts of a key that its caller chooses.
#[derive(Debug, Clone, Copy)]
pub struct KeyTexts<'a> {
    /// The display name.
    pub display_name: &'a str,
    /// The description.
    pub description: &'a str,
    /// The scopes.
    pub scopes: &'a BTreeSet<Scope>,
    /// The projects. None: as the account's policy defines.
    pub projects: Option<&'a ProjectAccess>,
    /// The labels.
    pub labels: &'a Labels,
    /// The networks.
    pub networks: &'a BTreeSet<Network>,
}

impl KeyTexts<'_> {
    /// The total size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.by_field().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Checks the total size. A key that is over the limit already may stay so, but must not grow: `before` is its size
    /// before the change, 0 for a new key.
    ///
    /// # Errors
    /// The largest field, and the rule.
    pub fn check(&self, before: usize) -> Result<(), (&'static str, ValidationError)> {
        if self.bytes() <= KEY_BYTES_MAX.max(before) {
            return Ok(());
        }
        let [first, rest @ ..] = self.by_field();
        let largest = rest.into_iter().fold(first, |largest, field| if field.1 > largest.1 { field } else { largest });
        let rule = format!(
            "must be smaller: all texts of a key together (display name, description, scopes, projects, labels and \
             networks) must have at most {KEY_BYTES_MAX} bytes"
        );
        Err((largest.0, ValidationError::new(rule)))
    }

    fn by_field(&self) -> [(&'static str, usize); 6] {
        let projects = match self.projects {
            Some(ProjectAccess::Only(only)) => only.iter().map(|project| project.as_str().len()).sum(),
            Some(ProjectAccess::All) | None => 0,
        };
        [
            ("display_name", self.display_name.len()),
            ("description", self.description.len()),
            ("scopes", self.scopes.iter().map(|scope| scope.as_str().len()).sum()),
            ("projects.only", projects),
            ("labels", self.labels.iter().map(|(name, value)| name.len() + value.len()).sum()),
            ("allowed_networks", self.networks.iter().map(written_len).sum()),
        ]
    }
}

/// The length of a value as text, without an allocation.
fn written_len(value: &impl fmt::Display) -> usize {
    struct Counter(usize);

    impl fmt::Write for Counter {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 += text.len();
            Ok(())
        }
    }

    let mut counter = Counter(0);
    let _ = write!(counter, "{value}");
    counter.0
}
