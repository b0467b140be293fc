//! The open loop: calls start at a fixed rate, whether or not earlier calls have returned, like calls of independent
//! clients. Latency counts from the instant at which a call was due, so a server or generator that falls behind shows
//! in every delayed call.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use key_authority_testkit::clock::Clock;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinSet;

use super::closed;
use super::connection::Connection;
use super::recorder::Recorder;
use super::request::Requests;
use crate::clock;

/// The shortest sleep of the pacing thread. Calls that are due within it start together, and their latency includes the
/// delay. A wake-up for each call would cost more CPU than the calls.
const TICK: Duration = Duration::from_micros(100);

/// Makes `rate` calls per second, on one connection after the other, until the run is over, and waits for the answers.
pub(super) async fn run(
    connections: Vec<Connection>,
    mut requests: Requests,
    rate: f64,
    recorder: Rc<Recorder>,
) -> Result<()> {
    let path = connections.first().context("no connection")?.path(closed::method(requests.plan.mode))?;
    let (due, mut calls) = mpsc::unbounded_channel();
    let clock = recorder.clock;
    std::thread::Builder::new()
        .name("pace".into())
        .spawn(move || pace(clock, rate, &due))
        .context("cannot start a thread")?;
    let mut in_flight = JoinSet::new();
    for connection in connections.iter().cycle() {
        let Some(due) = calls.recv().await.filter(|_| !recorder.is_over()) else { break };
        let (mut connection, path, recorder) = (connection.clone(), path.clone(), Rc::clone(&recorder));
        let mut requests = requests.fork();
        in_flight.spawn_local(async move {
            closed::call(&mut connection, &path, &mut requests).await?;
            recorder.count_due(due);
            anyhow::Ok(())
        });
        while let Some(answered) = in_flight.try_join_next() {
            answered.context("a call panicked")??;
        }
    }
    while let Some(answered) = in_flight.join_next().await {
        answered.context("a call panicked")??;
    }
    Ok(())
}

/// Sends the due time of each call, at that time, until the receiver is gone.
fn pace(clock: Clock, rate: f64, due: &UnboundedSender<Duration>) {
    let begin = clock.elapsed();
    for number in 0_u32.. {
        let at = begin + Duration::from_secs_f64(f64::from(number) / rate);
        if let Some(early) = at.checked_sub(clock.elapsed()).filter(|early| !early.is_zero()) {
            clock::sleep(early.max(TICK));
        }
        if due.send(at).is_err() {
            return;
        }
    }
}
