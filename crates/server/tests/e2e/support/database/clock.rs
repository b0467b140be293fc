//! The clock of the database servers that tests may set.

use std::path::PathBuf;

/// The clock of [`DatabaseServer::Clocked`](super::DatabaseServer::Clocked). Dropping it puts the clock right.
pub(crate) struct DatabaseClock(PathBuf);

impl DatabaseClock {
    pub(crate) fn new() -> Self {
        let file = std::env::var_os("KEY_AUTHORITY_TEST_CLOCK_FILE");
        let clock =
            Self(file.expect("KEY_AUTHORITY_TEST_CLOCK_FILE is not set: run the tests with scripts/test").into());
        clock.set_off(0);
        clock
    }

    /// Lets the clock show so many seconds more than it is.
    pub(crate) fn set_off(&self, seconds: i64) {
        // Renamed into place, since the servers may read it at any moment.
        let partial = self.0.with_extension("partial");
        std::fs::write(&partial, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(&partial, &self.0).unwrap();
    }
}

impl Drop for DatabaseClock {
    fn drop(&mut self) {
        self.set_off(0);
    }
}
