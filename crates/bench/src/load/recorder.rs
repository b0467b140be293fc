//! Records the answers of a run's workers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use key_authority_testkit::clock::Clock;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::Measured;

/// The longest latency that the histogram resolves, in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Counting,
    Over,
}

/// The counters of one run. All workers share one thread.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// The clock of all workers.
    pub(super) clock: Clock,
    phase: Cell<Phase>,
    began: Cell<Duration>,
    ended: Cell<Duration>,
    answers: Cell<u64>,
    latency: RefCell<Histogram<u64>>,
    error: RefCell<Option<anyhow::Error>>,
    is_over: Notify,
}

impl Recorder {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            clock: Clock::start(),
            phase: Cell::new(Phase::WarmUp),
            began: Cell::new(Duration::ZERO),
            ended: Cell::new(Duration::MAX),
            answers: Cell::new(0),
            latency: RefCell::new(Histogram::new_with_bounds(100, LONGEST_NS, 3)?),
            error: RefCell::new(None),
            is_over: Notify::new(),
        })
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase.get() == Phase::Over
    }

    /// Counts a call that was sent at `sent` and is answered now, with this number of answers.
    pub(crate) fn count(&self, sent: Duration, answers: u64) {
        if self.phase.get() == Phase::Counting {
            self.note(sent, answers);
        }
    }

    /// Counts a call that was due during the measurement, also if its answer comes after the end.
    pub(super) fn count_due(&self, due: Duration) {
        if self.phase.get() != Phase::WarmUp && due >= self.began.get() && due < self.ended.get() {
            self.note(due, 1);
        }
    }

    fn note(&self, since: Duration, answers: u64) {
        self.answers.set(self.answers.get() + answers);
        let taken = self.now().saturating_sub(since).as_nanos();
        self.latency.borrow_mut().saturating_record(u64::try_from(taken).unwrap_or(LONGEST_NS));
    }

    /// Spawns a worker. An error of a worker ends the run.
    pub(crate) fn spawn(self: &Rc<Self>, work: impl Future<Output = Result<()>> + 'static) -> JoinHandle<()> {
        let recorder = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if let Err(error) = work.await {
                recorder.error.borrow_mut().get_or_insert(error);
                recorder.phase.set(Phase::Over);
                recorder.is_over.notify_one();
            }
        })
    }

    /// Waits for `time`, or until a worker fails.
    pub(super) async fn wait(&self, time: Duration) -> Result<()> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.is_over.notified() => self.check(),
        }
    }

    pub(super) fn begin(&self) {
        self.began.set(self.now());
        self.phase.set(Phase::Counting);
    }

    /// Ends the run, and returns how long it was measured.
    pub(super) fn end(&self) -> Duration {
        self.phase.set(Phase::Over);
        self.ended.set(self.now());
        self.ended.get().saturating_sub(self.began.get())
    }

    /// The first error of a worker, if there is one.
    pub(super) fn check(&self) -> Result<()> {
        self.error.borrow_mut().take().map_or(Ok(()), Err)
    }

    pub(super) fn measured(&self, taken: Duration, server: Duration, generator: Duration) -> Measured {
        let answers = self.answers.get();
        #[expect(clippy::cast_precision_loss, reason = "a float represents this number of answers exactly")]
        let count = answers.max(1) as f64;
        let each_us = |time: Duration| time.as_secs_f64() * 1e6 / count;
        let latency = self.latency.borrow();
        let at = |quantile| Duration::from_nanos(latency.value_at_quantile(quantile)).as_secs_f64() * 1e6;
        Measured {
            answers,
            per_second: count / taken.as_secs_f64(),
            server_us: each_us(server),
            generator_us: each_us(generator),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            max_us: at(1.0),
        }
    }
}
