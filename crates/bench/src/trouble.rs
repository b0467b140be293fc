//! Why a measurement could not be made. A figure that misses its target is a result, not one of these.

use std::error::Error;
use std::fmt::Display;

/// Something to read for whoever runs the benchmark.
pub type Trouble = Box<dyn Error + Send + Sync>;

/// Says what was attempted when it failed.
pub trait Attempt<T> {
    /// What was attempted, in words.
    ///
    /// # Errors
    /// What went wrong, after what was attempted.
    fn attempt(self, what: impl Display) -> Result<T, Trouble>;
}

impl<T, E: Display> Attempt<T> for Result<T, E> {
    fn attempt(self, what: impl Display) -> Result<T, Trouble> {
        self.map_err(|error| format!("{what}: {error}").into())
    }
}
