//! What the workers of a run have seen so far.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::Measured;
use crate::clock::Clock;
use crate::trouble::Trouble;

/// The longest that is told apart, in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Counting,
    Over,
}

/// The counts of one run. All its users are on one thread.
#[derive(Debug)]
pub(crate) struct Tally {
    /// What all its users go by.
    pub(super) clock: Clock,
    phase: Cell<Phase>,
    began: Cell<Duration>,
    ended: Cell<Duration>,
    answers: Cell<u64>,
    latency: RefCell<Histogram<u64>>,
    trouble: RefCell<Option<Trouble>>,
    is_over: Notify,
}

impl Tally {
    pub(super) fn new() -> Result<Self, Trouble> {
        Ok(Self {
            clock: Clock::start(),
            phase: Cell::new(Phase::WarmUp),
            began: Cell::new(Duration::ZERO),
            ended: Cell::new(Duration::MAX),
            answers: Cell::new(0),
            latency: RefCell::new(Histogram::new_with_bounds(100, LONGEST_NS, 3)?),
            trouble: RefCell::new(None),
            is_over: Notify::new(),
        })
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase.get() == Phase::Over
    }

    /// Counts what was asked at `asked` and is answered now: one call with so many answers.
    pub(crate) fn count(&self, asked: Duration, answers: u64) {
        if self.phase.get() == Phase::Counting {
            self.note(asked, answers);
        }
    }

    /// Counts a call that was due while it was counted, however late its answer is.
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

    /// Lets a worker work. One that fails ends the run.
    pub(crate) fn watch(self: &Rc<Self>, work: impl Future<Output = Result<(), Trouble>> + 'static) -> JoinHandle<()> {
        let tally = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if let Err(trouble) = work.await {
                tally.trouble.borrow_mut().get_or_insert(trouble);
                tally.phase.set(Phase::Over);
                tally.is_over.notify_one();
            }
        })
    }

    /// Waits, unless a worker fails.
    pub(super) async fn rest(&self, time: Duration) -> Result<(), Trouble> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.is_over.notified() => self.check(),
        }
    }

    pub(super) fn begin(&self) {
        self.began.set(self.now());
        self.phase.set(Phase::Counting);
    }

    /// Ends the run, and says how long it was counted.
    pub(super) fn end(&self) -> Duration {
        self.phase.set(Phase::Over);
        self.ended.set(self.now());
        self.ended.get().saturating_sub(self.began.get())
    }

    /// What went wrong, if anything did.
    pub(super) fn check(&self) -> Result<(), Trouble> {
        self.trouble.borrow_mut().take().map_or(Ok(()), Err)
    }

    pub(super) fn measured(&self, taken: Duration, server: Duration, generator: Duration) -> Measured {
        let answers = self.answers.get();
        #[expect(clippy::cast_precision_loss, reason = "fewer answers than a float counts exactly")]
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
