//! What an attack is, and how it runs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use futures_util::future::LocalBoxFuture;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::stage::Stage;

/// The work of an attack, on the attacker's thread.
pub(crate) type Work = fn(Arc<Stage>) -> LocalBoxFuture<'static, Result<()>>;

/// How long an attack that ends by itself may take.
const FINITE_LIMIT: Duration = Duration::from_secs(90);
/// The priority of the attacker's thread. An attacker is on another machine; here it must not take the CPU time of the
/// server and of the good client.
const NICENESS: i32 = 15;

/// An attack. Each is a constant in a file of its own.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "the flags are independent of each other")]
pub(crate) struct Attack {
    /// The name, for `--only` and in the report.
    pub(crate) name: &'static str,
    /// What it does, in one line.
    pub(crate) about: &'static str,
    work: Work,
    /// Prepares keys and accounts before the quiet phase, so that they do not count as growth.
    prepare: Option<Work>,
    /// Whether the work ends by itself. Otherwise it is cut at the end of the attack's time.
    is_finite: bool,
    /// More arguments of the server.
    pub(crate) arguments: &'static [&'static str],
    /// Whether the server has TLS.
    pub(crate) has_tls: bool,
    /// Whether nobody reads the server's standard error.
    pub(crate) is_log_unread: bool,
    /// Whether new connections may be refused meanwhile: the attack comes from so many addresses that they are more
    /// than all room for connections.
    pub(crate) may_exclude_newcomers: bool,
}

impl Attack {
    /// An attack that lasts until it is cut.
    pub(crate) const fn new(name: &'static str, about: &'static str, work: Work) -> Self {
        Self {
            name,
            about,
            work,
            prepare: None,
            is_finite: false,
            arguments: &[],
            has_tls: false,
            is_log_unread: false,
            may_exclude_newcomers: false,
        }
    }

    /// An attack that ends by itself.
    pub(crate) const fn finite(mut self) -> Self {
        self.is_finite = true;
        self
    }

    pub(crate) const fn prepared_by(mut self, prepare: Work) -> Self {
        self.prepare = Some(prepare);
        self
    }

    pub(crate) const fn server_arguments(mut self, arguments: &'static [&'static str]) -> Self {
        self.arguments = arguments;
        self
    }

    pub(crate) const fn tls(mut self) -> Self {
        self.has_tls = true;
        self
    }

    pub(crate) const fn log_unread(mut self) -> Self {
        self.is_log_unread = true;
        self
    }

    pub(crate) const fn may_exclude_newcomers(mut self) -> Self {
        self.may_exclude_newcomers = true;
        self
    }

    /// Prepares the attack.
    pub(crate) async fn prepare(&self, stage: &Arc<Stage>) -> Result<()> {
        match self.prepare {
            Some(prepare) => prepare(Arc::clone(stage)).await.with_context(|| format!("cannot prepare {}", self.name)),
            None => Ok(()),
        }
    }

    /// Runs the attack on a thread of its own. When this returns, all its connections are closed.
    pub(crate) async fn run(&self, stage: &Arc<Stage>, time: Duration) -> Result<()> {
        let (done, ended) = oneshot::channel();
        let (attack, stage) = (*self, Arc::clone(stage));
        let thread = std::thread::Builder::new().name("attacker".into());
        thread.spawn(move || drop(done.send(attack.run_here(&stage, time)))).context("cannot start a thread")?;
        ended.await.map_err(|_panicked| anyhow!("the attacker panicked"))?.with_context(|| self.name)
    }

    fn run_here(&self, stage: &Arc<Stage>, time: Duration) -> Result<()> {
        rustix::process::setpriority_process(None, NICENESS).context("cannot lower the priority")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let limit = if self.is_finite { FINITE_LIMIT } else { time };
        match runtime.block_on(timeout_of(limit, (self.work)(Arc::clone(stage)))) {
            Some(outcome) => outcome?,
            None if self.is_finite => stage.broken(format!("the attack had no end after {FINITE_LIMIT:?}")),
            None => {}
        }
        Ok(())
    }
}

async fn timeout_of<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    timeout(limit, work).await.ok()
}

/// Waits until the attack is cut.
pub(crate) async fn hold() -> Result<()> {
    std::future::pending().await
}
