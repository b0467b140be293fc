//! The load generator: sends requests over HTTP/2, checks status and verdict of every answer, and records its latency.
//!
//! It runs in one thread and directly on h2, to leave the CPU to the server on machines with few cores. One wrong
//! answer ends the run with an error.

mod closed;
mod connection;
mod frame;
mod open;
mod recorder;
mod request;
mod stream;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use key_authority_testkit::clock::Clock;
use serde::{Deserialize, Serialize};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::sleep;

use self::connection::Connection;
pub(crate) use self::recorder::Recorder;
use self::request::Requests;
use crate::clock::thread_cpu;
use crate::key_set::{KeySet, Presented};
use crate::usage::Usage;

/// A process is idle when it uses less than 5 % of one core for this long.
const IDLE_SAMPLE: Duration = Duration::from_millis(200);
/// After this long, a process that is not idle is measured anyway.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The server under load.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) usage: Usage,
    /// The caller's token.
    pub(crate) token: String,
    /// Whether it holds the keys. The bare framework does not, and answers VALID to every token.
    pub(crate) is_real: bool,
}

/// The method, and how requests are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// `Verify`, one request per call.
    Unary,
    /// `BatchVerify`, with this many requests per call.
    Batch(usize),
    /// `VerifyStream`, one stream per connection.
    Stream,
}

/// What is sent, how, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) key_set: KeySet,
    pub(crate) presented: Presented,
    pub(crate) mode: Mode,
    pub(crate) connections: usize,
    /// Calls, or requests on the stream, in flight on each connection.
    pub(crate) in_flight: usize,
    /// Calls per second of an open loop, in place of `in_flight`.
    pub(crate) rate: Option<f64>,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

/// The result of a run. Times are in microseconds. Each verification counts as one answer, also in a batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) answers: u64,
    pub(crate) per_second: f64,
    /// CPU time of the server's process per answer.
    pub(crate) server_us: f64,
    /// CPU time of the generator per answer.
    pub(crate) generator_us: f64,
    /// Latency of a call, or of a request on a stream; in an open loop, from the instant at which the call was due.
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
}

/// Puts load on `target`.
pub(crate) async fn run(target: Target, plan: Plan) -> Result<Measured> {
    measure(target.usage, plan.warm_up, plan.time, async move |recorder| begin(&target, plan, &recorder).await).await
}

/// A request as it is sent, for other load generators.
pub(crate) fn encoded_request(token: &str) -> Result<Bytes> {
    frame::of(&request::about(token.to_owned()))
}

/// Runs the workers that `begin` starts, on a thread of their own, and measures them. `usage` is the process that
/// serves them.
pub(crate) async fn measure<F>(usage: Usage, warm_up: Duration, time: Duration, begin: F) -> Result<Measured>
where
    F: AsyncFnOnce(Rc<Recorder>) -> Result<Vec<JoinHandle<()>>> + Send + 'static,
{
    until_idle(usage).await?;
    let (done, outcome) = tokio::sync::oneshot::channel();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let measured = runtime
            .context("cannot create a runtime")
            .and_then(|runtime| LocalSet::new().block_on(&runtime, measure_workers(usage, warm_up, time, begin)));
        // The receiver is gone if the benchmark was interrupted.
        let _ = done.send(measured);
    };
    std::thread::Builder::new().name("load".into()).spawn(work).context("cannot start a thread")?;
    outcome.await.context("the load generator panicked")?
}

async fn measure_workers<F>(usage: Usage, warm_up: Duration, time: Duration, begin: F) -> Result<Measured>
where
    F: AsyncFnOnce(Rc<Recorder>) -> Result<Vec<JoinHandle<()>>>,
{
    let recorder = Rc::new(Recorder::new()?);
    let workers = begin(Rc::clone(&recorder)).await?;
    recorder.wait(warm_up).await?;
    let (server, generator) = (usage.cpu()?, thread_cpu());
    recorder.begin();
    recorder.wait(time).await?;
    let taken = recorder.end();
    let (server, generator) = (usage.cpu()?.saturating_sub(server), thread_cpu().saturating_sub(generator));
    for worker in workers {
        worker.await.context("a worker panicked")?;
    }
    recorder.check()?;
    Ok(recorder.measured(taken, server, generator))
}

/// Waits until a process has finished the work of an earlier run, such as flushing usage to the database.
async fn until_idle(usage: Usage) -> Result<()> {
    let clock = Clock::start();
    while clock.elapsed() < IDLE_TIMEOUT {
        let before = usage.cpu()?;
        sleep(IDLE_SAMPLE).await;
        if usage.cpu()?.saturating_sub(before) < IDLE_SAMPLE / 20 {
            break;
        }
    }
    Ok(())
}

async fn begin(target: &Target, plan: Plan, recorder: &Rc<Recorder>) -> Result<Vec<JoinHandle<()>>> {
    let requests = |worker: usize| Requests::new(plan, target.is_real, worker as u64);
    let mut connections = Vec::new();
    for _ in 0..plan.connections {
        connections.push(Connection::open(target).await?);
    }
    if let Some(rate) = plan.rate {
        return Ok(vec![recorder.spawn(open::run(connections, requests(0), rate, Rc::clone(recorder)))]);
    }
    let mut workers = Vec::new();
    for (number, connection) in connections.into_iter().enumerate() {
        if plan.mode == Mode::Stream {
            workers.push(recorder.spawn(stream::run(
                connection,
                requests(number),
                plan.in_flight,
                Rc::clone(recorder),
            )));
            continue;
        }
        for worker in 0..plan.in_flight {
            let requests = requests(number * plan.in_flight + worker);
            workers.push(recorder.spawn(closed::run(connection.clone(), requests, Rc::clone(recorder))));
        }
    }
    Ok(workers)
}
