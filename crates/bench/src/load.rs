//! The load generator: asks over HTTP/2, checks the status and the verdict of every answer, and notes how long each took.
//!
//! It runs in one thread of its own, on h2 itself: what it does not use of a machine with few cores, the server can. Any
//! answer that is not the right one ends the run, and there is no figure.

mod closed;
mod connection;
mod frame;
mod question;
mod stream;
mod tally;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::LocalSet;

use self::connection::Connection;
use self::question::Questions;
use self::tally::Tally;
use crate::clock::thread_cpu;
use crate::process::Usage;
use crate::stock::{Presented, Stock};
use crate::trouble::{Attempt as _, Trouble};

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
    /// From asking to the answer of a call, or of a question on a stream.
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
}

/// Puts load on `target`.
pub(crate) async fn run(target: Target, plan: Plan) -> Result<Measured, Trouble> {
    let (done, outcome) = tokio::sync::oneshot::channel();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let measured = runtime
            .attempt("a runtime")
            .and_then(|runtime| LocalSet::new().block_on(&runtime, async { measure(&target, plan).await }));
        // Nobody waits any more when the benchmark was interrupted.
        let _ = done.send(measured);
    };
    std::thread::Builder::new().name("load".into()).spawn(work).attempt("a thread")?;
    outcome.await.attempt("the generator")?
}

async fn measure(target: &Target, plan: Plan) -> Result<Measured, Trouble> {
    let tally = Rc::new(Tally::new()?);
    let mut workers = Vec::new();
    for number in 0..plan.connections {
        let connection = Connection::open(target).await?;
        let questions = |worker| Questions::new(plan, target.is_real, (number * plan.in_flight + worker) as u64);
        if plan.mode == Mode::Stream {
            let work = stream::ask(connection, questions(0), plan.in_flight, Rc::clone(&tally));
            workers.push(tally.watch(work));
        } else {
            for worker in 0..plan.in_flight {
                let work = closed::ask(connection.clone(), questions(worker), Rc::clone(&tally));
                workers.push(tally.watch(work));
            }
        }
    }
    tally.rest(plan.warm_up).await?;
    let (server, generator) = (target.usage.cpu()?, thread_cpu());
    tally.begin();
    tally.rest(plan.time).await?;
    let taken = tally.end();
    let (server, generator) = (target.usage.cpu()?.saturating_sub(server), thread_cpu().saturating_sub(generator));
    for worker in workers {
        worker.await.attempt("a worker")?;
    }
    tally.check()?;
    Ok(tally.measured(taken, server, generator))
}
