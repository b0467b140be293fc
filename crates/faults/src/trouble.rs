//! Why the harness itself could not do its work. A broken promise of the server is a result, not one of these.

use std::error::Error;
use std::fmt::Display;

/// Something to read for whoever runs the harness.
pub(crate) type Trouble = Box<dyn Error + Send + Sync>;

/// Says what was attempted when it failed.
pub(crate) trait Attempt<T> {
    fn attempt(self, what: impl Display) -> Result<T, Trouble>;
}

impl<T, E: Display> Attempt<T> for Result<T, E> {
    fn attempt(self, what: impl Display) -> Result<T, Trouble> {
        self.map_err(|error| format!("{what}: {error}").into())
    }
}
