//! The log lines of work that is repeated while it fails.

use std::error::Error;
use std::time::Duration;

use crate::clock::Boottime;

/// How often a failure that goes on is logged at `warn`.
const REPEAT_INTERVAL: Duration = Duration::from_secs(30);

/// Logs the first failure at `warn`, with its cause, and again at intervals while the work fails. The failures between
/// are logged at `debug`: the work is repeated, in some places fifty times a second.
#[derive(Debug, Default)]
pub(crate) struct FailureLog {
    /// When a failure was last logged at `warn`; `None` while the work succeeds.
    logged: Option<Boottime>,
}

impl FailureLog {
    /// Logs a failure.
    pub(crate) fn log(&mut self, error: &dyn Error, message: &str, now: Boottime) {
        let cause = error.source().map(ToString::to_string);
        if self.note(now) {
            tracing::warn!(error = %error, cause, "{message}");
        } else {
            tracing::debug!(error = %error, cause, "{message}");
        }
    }

    /// Records a failure, and returns whether to log it at `warn`.
    pub(crate) fn note(&mut self, now: Boottime) -> bool {
        let is_due = self.logged.is_none_or(|logged| now.since(logged) >= REPEAT_INTERVAL);
        if is_due {
            self.logged = Some(now);
        }
        is_due
    }

    /// Records that the work succeeds again: the next failure is the first one.
    pub(crate) fn end(&mut self) {
        self.logged = None;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::{Debug, Write as _};
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::subscriber::DefaultGuard;
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;

    /// The log lines of a test: the level, and the fields as text.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

    impl Lines {
        /// Collects the lines of this thread until the guard is dropped.
        pub(crate) fn collect() -> (Self, DefaultGuard) {
            let lines = Self::default();
            (lines.clone(), tracing::subscriber::set_default(lines))
        }

        /// Returns the levels of the lines that contain `text`.
        pub(crate) fn levels(&self, text: &str) -> Vec<Level> {
            let lines = self.0.lock().unwrap();
            lines.iter().filter(|(_, line)| line.contains(text)).map(|(level, _)| *level).collect()
        }
    }

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, "{field}={value:?} ").unwrap();
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0.lock().unwrap().push((*event.metadata().level(), line.0));
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn the_first_failure_is_logged_with_its_cause_and_again_at_intervals() {
        let (lines, _guard) = Lines::collect();
        let error = key_authority_storage::StorageError::File(std::io::Error::other("the cause"));
        let mut failures = FailureLog::default();
        let began = Boottime(1_000_000_000);
        for seconds in [0, 1, 29, 30, 31] {
            failures.log(&error, "cannot work", began.after(Duration::from_secs(seconds)));
        }
        failures.end();
        failures.log(&error, "cannot work", began.after(Duration::from_secs(32)));
        let (warn, debug) = (Level::WARN, Level::DEBUG);
        assert_eq!(lines.levels("cannot work"), [warn, debug, debug, warn, debug, warn]);
        assert_eq!(lines.levels("the cause").len(), 6);
    }
}
