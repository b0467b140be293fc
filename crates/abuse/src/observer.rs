//! Observes a server from a thread of its own: the good client, new connections, probes, revocations and memory.

mod calls;
mod memory;
mod probes;
mod revocations;

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use rustix::process::Pid;
use tokio::sync::oneshot;

pub(crate) use self::memory::{Memory, resident_mib};
use crate::samples::{Phase, Samples};
use crate::stage::Stage;

/// An observation.
pub(crate) struct Observer {
    pub(crate) samples: Arc<Samples>,
    ended: oneshot::Receiver<Result<Memory>>,
}

impl Observer {
    /// Begins with the quiet phase.
    pub(crate) fn start(stage: &Arc<Stage>, pid: Pid) -> Result<Self> {
        let samples = Arc::new(Samples::new());
        let (done, ended) = oneshot::channel();
        let (stage, shared) = (Arc::clone(stage), Arc::clone(&samples));
        let thread = std::thread::Builder::new().name("observer".into());
        thread.spawn(move || drop(done.send(observe(&stage, &shared, pid)))).context("cannot start a thread")?;
        Ok(Self { samples, ended })
    }

    /// Ends the observation, and waits for calls in flight.
    pub(crate) async fn finish(self) -> Result<(Arc<Samples>, Memory)> {
        self.samples.begin(Phase::Over);
        let memory = self.ended.await.map_err(|_panicked| anyhow!("the observer panicked"))??;
        Ok((self.samples, memory))
    }
}

fn observe(stage: &Arc<Stage>, samples: &Arc<Samples>, pid: Pid) -> Result<Memory> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (memory, ..) = tokio::try_join!(
            memory::watch(stage, samples, pid),
            calls::verify(stage, samples),
            calls::connect(stage, samples),
            probes::probe(stage, samples),
            revocations::revoke(stage, samples),
        )?;
        Ok(memory)
    })
}
