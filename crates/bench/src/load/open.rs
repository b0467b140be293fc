//! The open loop: calls are made at a fixed rate, whatever becomes of those before, as callers do who do not know of each
//! other. How long a call took is counted from the instant at which it was due, so that a server, or a generator, that
//! falls behind is seen in every call that had to wait.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinSet;

use super::closed;
use super::connection::Connection;
use super::question::Questions;
use super::tally::Tally;
use crate::clock::{self, Clock};
use crate::trouble::{Attempt as _, Trouble};

/// The shortest sleep of who keeps the time: calls that are due within it are made together, and the wait is theirs. Waking
/// for each would take more of a small machine than the calls themselves.
const TICK: Duration = Duration::from_micros(100);

/// Makes `rate` calls a second, on one connection after the other, until the run is over, and awaits their answers.
pub(super) async fn ask(
    connections: Vec<Connection>,
    mut questions: Questions,
    rate: f64,
    tally: Rc<Tally>,
) -> Result<(), Trouble> {
    let path = connections.first().ok_or("no connection")?.path(closed::method(questions.plan.mode))?;
    let (due, mut calls) = mpsc::unbounded_channel();
    let clock = tally.clock;
    std::thread::Builder::new().name("pace".into()).spawn(move || pace(clock, rate, &due)).attempt("a thread")?;
    let mut asked = JoinSet::new();
    for connection in connections.iter().cycle() {
        let Some(due) = calls.recv().await.filter(|_| !tally.is_over()) else { break };
        let (mut connection, path, tally) = (connection.clone(), path.clone(), Rc::clone(&tally));
        let mut questions = questions.fork();
        asked.spawn_local(async move {
            closed::call(&mut connection, &path, &mut questions).await?;
            tally.count_due(due);
            Ok::<(), Trouble>(())
        });
        while let Some(answered) = asked.try_join_next() {
            answered.attempt("a call")??;
        }
    }
    while let Some(answered) = asked.join_next().await {
        answered.attempt("a call")??;
    }
    Ok(())
}

/// Says when each call is due, until nobody listens.
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
