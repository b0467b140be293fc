//! Writes log lines to standard error from threads of their own.
//!
//! A reader of standard error that stops, such as a paused terminal or a stuck log collector, blocks a write for as
//! long as it likes. If a worker of the runtime wrote, so would every call that it serves. So lines go into a bounded
//! queue, and a line that finds the queue full is dropped and counted. Warnings and errors have a queue of their own,
//! so that a flood of other lines does not displace them.

use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::MakeWriterExt as _;

/// The maximum number of lines in a queue.
const QUEUE_LINES: usize = 8_192;

/// The writer of log lines. Dropping it writes what is queued, unless that takes longer than a second.
#[derive(Debug)]
pub(super) struct LogWriter {
    important: NonBlocking,
    others: NonBlocking,
    _guards: [WorkerGuard; 2],
}

/// Counts the log lines that were dropped.
#[derive(Debug, Clone)]
pub(crate) struct DroppedLines([ErrorCounter; 2]);

impl LogWriter {
    pub(super) fn new() -> Self {
        let queue = |name| {
            let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE_LINES);
            builder.thread_name(name).finish(std::io::stderr())
        };
        let ((important, first), (others, second)) = (queue("log-warnings"), queue("log"));
        Self { important, others, _guards: [first, second] }
    }

    /// Returns the writer for a subscriber.
    pub(super) fn make_writer(&self) -> impl for<'a> MakeWriter<'a> + Send + Sync + 'static {
        self.important.clone().with_max_level(Level::WARN).or_else(self.others.clone())
    }

    pub(super) fn dropped_lines(&self) -> DroppedLines {
        DroppedLines([self.important.error_counter(), self.others.error_counter()])
    }
}

impl DroppedLines {
    /// Returns the number of dropped lines: warnings and errors, and others.
    #[must_use]
    pub(crate) fn counts(&self) -> [usize; 2] {
        self.0.each_ref().map(ErrorCounter::dropped_lines)
    }
}
