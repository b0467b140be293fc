//! The load generator: asks over HTTP/2, checks the status and the verdict of every answer, and notes how long each took.
//!
//! It runs in one thread of its own, on h2 itself: what it does not use of a machine with few cores, the server can. Any
//! answer that is not the right one ends the run, and there is no figure.

mod closed;
mod connection;
mod frame;
mod open;
mod question;
mod stream;
mod tally;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::sleep;

use self::connection::Connection;
use self::question::Questions;
pub(crate) use self::tally::Tally;
use crate::clock::{Clock, thread_cpu};
use crate::process::Usage;
use crate::stock::{Presented, Stock};
use crate::trouble::{Attempt as _, Trouble};

/// A process rests when it uses less than a twentieth of one core for so long.
const REST_SAMPLE: Duration = Duration::from_millis(200);
/// One that never rests is measured as it is.
const REST_LIMIT: Duration = Duration::from_secs(30);

/// Who is asked.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) usage: Usage,
    /// The caller's own token.
    pub(crate) token: String,
    /// Whether it knows the keys; else it says of every token that it is valid.
    pub(crate) is_real: bool,
}

/// How questions are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// `Verify`, one a call.
    Unary,
    /// `BatchVerify`, so many a call.
    Batch(usize),
    /// `VerifyStream`: one stream a connection.
    Stream,
}

/// What is asked, how, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) stock: Stock,
    pub(crate) presented: Presented,
    pub(crate) mode: Mode,
    pub(crate) connections: usize,
    /// Calls, or questions on the stream, in flight on each connection.
    pub(crate) in_flight: usize,
    /// Calls a second that are made whatever becomes of those before, in place of `in_flight`.
    pub(crate) rate: Option<f64>,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

/// What a run showed. Times are in microseconds; each answer is one verification, whatever it came in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) answers: u64,
    pub(crate) per_second: f64,
    /// CPU time of the server's process for one answer.
    pub(crate) server_us: f64,
    /// CPU time of the generator for one answer.
    pub(crate) generator_us: f64,
    /// From asking to the answer of a call, or of a question on a stream; at a rate, from when it was due to be asked.
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
}

/// Puts load on `target`.
pub(crate) async fn run(target: Target, plan: Plan) -> Result<Measured, Trouble> {
    measure(target.usage, plan.warm_up, plan.time, async move |tally| begin(&target, plan, &tally).await).await
}

/// A question as it goes over the wire, for generators that are not ours.
pub(crate) fn recorded(token: &str) -> Result<Bytes, Trouble> {
    frame::of(&question::about(token.to_owned()))
}

/// Lets the workers that `begin` starts work on a thread of their own, and measures what comes of it and what the process
/// `usage` uses for it.
pub(crate) async fn measure<F>(usage: Usage, warm_up: Duration, time: Duration, begin: F) -> Result<Measured, Trouble>
where
    F: AsyncFnOnce(Rc<Tally>) -> Result<Vec<JoinHandle<()>>, Trouble> + Send + 'static,
{
    rest(usage).await?;
    let (done, outcome) = tokio::sync::oneshot::channel();
    let work = move || {
        let measured =
            tokio::runtime::Builder::new_current_thread().enable_all().build().attempt("a runtime").and_then(
                |runtime| {
                    LocalSet::new().block_on(&runtime, async {
                        let tally = Rc::new(Tally::new()?);
                        let workers = begin(Rc::clone(&tally)).await?;
                        tally.rest(warm_up).await?;
                        let (server, generator) = (usage.cpu()?, thread_cpu());
                        tally.begin();
                        tally.rest(time).await?;
                        let taken = tally.end();
                        let (server, generator) =
                            (usage.cpu()?.saturating_sub(server), thread_cpu().saturating_sub(generator));
                        for worker in workers {
                            worker.await.attempt("a worker")?;
                        }
                        tally.check()?;
                        Ok(tally.measured(taken, server, generator))
                    })
                },
            );
        // Nobody waits any more when the benchmark was interrupted.
        let _ = done.send(measured);
    };
    std::thread::Builder::new().name("load".into()).spawn(work).attempt("a thread")?;
    outcome.await.attempt("the generator")?
}

/// Waits until a process has done what an earlier run has left it to do, such as writing down which keys were used.
async fn rest(usage: Usage) -> Result<(), Trouble> {
    let clock = Clock::start();
    while clock.elapsed() < REST_LIMIT {
        let before = usage.cpu()?;
        sleep(REST_SAMPLE).await;
        if usage.cpu()?.saturating_sub(before) < REST_SAMPLE / 20 {
            break;
        }
    }
    Ok(())
}

async fn begin(target: &Target, plan: Plan, tally: &Rc<Tally>) -> Result<Vec<JoinHandle<()>>, Trouble> {
    let questions = |worker: usize| Questions::new(plan, target.is_real, worker as u64);
    let mut connections = Vec::new();
    for _ in 0..plan.connections {
        connections.push(Connection::open(target).await?);
    }
    if let Some(rate) = plan.rate {
        return Ok(vec![tally.watch(open::ask(connections, questions(0), rate, Rc::clone(tally)))]);
    }
    let mut workers = Vec::new();
    for (number, connection) in connections.into_iter().enumerate() {
        if plan.mode == Mode::Stream {
            workers.push(tally.watch(stream::ask(connection, questions(number), plan.in_flight, Rc::clone(tally))));
            continue;
        }
        for worker in 0..plan.in_flight {
            let questions = questions(number * plan.in_flight + worker);
            workers.push(tally.watch(closed::ask(connection.clone(), questions, Rc::clone(tally))));
        }
    }
    Ok(workers)
}
