//! Nobody reads the server's standard error, and each connection is logged: a full pipe must stop nothing.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{interval, sleep};

use crate::attack::Attack;
use crate::client::PROBE;
use crate::http1::metric;
use crate::peer::{ATTACKER, connect};
use crate::stage::Stage;

const AT_ONCE: usize = 64;
/// What the server takes for no HTTP/2, and logs. Lines about refused connections are limited, those at `debug` are
/// not.
const NO_PREFACE: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
/// Counts the lines for which there was no room.
const DROPPED: &str = "keyauthority_log_lines_dropped_total";
const METRIC_INTERVAL: Duration = Duration::from_millis(100);
/// How long the attack goes on once lines are dropped.
const DROPPING_TIME: Duration = Duration::from_secs(2);

pub(super) const ATTACK: Attack = Attack::new(
    "unread-log",
    "connections that are not HTTP/2, until lines of the log are dropped, while nobody reads standard error",
    |stage| Box::pin(async move { run(&stage).await }),
)
// The pipe and the queue behind it have room for some 9,000 lines, which a debug build on a busy machine takes long to
// fill. Without dropped lines, the attack has no end, which the report says.
.finite()
// The lines about connections are not written at the default level.
.server_arguments(&["--log", "debug"])
.log_unread();

async fn run(stage: &Stage) -> Result<()> {
    let connections = (0..AT_ONCE).map(|_| connections(stage));
    tokio::select! {
        () = dropping(stage) => {}
        Err(error) = futures_util::future::try_join_all(connections) => return Err(error),
    }
    Ok(())
}

/// Completes a while after lines were dropped.
async fn dropping(stage: &Stage) {
    let mut ticks = interval(METRIC_INTERVAL);
    loop {
        ticks.tick().await;
        if metric(stage.http, PROBE, DROPPED).await.is_ok_and(|dropped| dropped >= 1.0) {
            sleep(DROPPING_TIME).await;
            return;
        }
    }
}

async fn connections(stage: &Stage) -> Result<Infallible> {
    loop {
        let mut stream = connect(stage.grpc, ATTACKER).await?;
        let _ = stream.write_all(NO_PREFACE).await;
        // Until the server has closed the connection, and logged why.
        let _ = stream.read_to_end(&mut Vec::new()).await;
        stage.answers.count("closed");
    }
}
