//! Watches whose answers are not read take all places for watches. A good client's Watch must be answered nevertheless,
//! or the client takes the replica for down.

use std::time::Duration;

use anyhow::Result;
use h2::RecvStream;
use key_authority_testkit::clock::Clock;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::answers::Pending;
use crate::attack::{Attack, hold};
use crate::grpc::{self, WATCH};
use crate::peer::Peer;
use crate::stage::Stage;

const CONNECTIONS: usize = 2;
const STREAMS: usize = 998;
/// Good watches, one after the other, all held.
const GOOD: usize = 16;
/// How long the watches of the attacker may take to open.
const OPENING_LIMIT: Duration = Duration::from_secs(1);
const GOOD_LIMIT: Duration = Duration::from_secs(1);
/// `SERVING`, as a framed response.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

pub(super) const ATTACK: Attack = Attack::new(
    "finished-watches",
    "2 × 998 Health/Watch with window 0; then 16 good Watches must be answered",
    |stage| Box::pin(async move { run(&stage).await }),
);

async fn run(stage: &Stage) -> Result<()> {
    let (mut peers, mut opening) = (Vec::new(), JoinSet::new());
    for _ in 0..CONNECTIONS {
        let mut peer = Peer::open(stage, 0, None).await?;
        for _ in 0..STREAMS {
            let Ok((mut sender, answer)) = peer.call(WATCH).await else { break };
            let _ = sender.send_data(request(), true);
            opening.spawn(answer.body());
        }
        peers.push(peer);
    }
    // A watch has its place once its headers have come.
    let _held = timeout(OPENING_LIMIT, opening.join_all()).await;
    let (clock, mut watches) = (Clock::start(), Vec::new());
    for number in 1..=GOOD {
        match timeout(GOOD_LIMIT, good_watch(stage)).await {
            Ok(Ok(watch)) => watches.push(watch),
            Ok(Err(answer)) => return fail(stage, number, &answer).await,
            Err(_elapsed) => return fail(stage, number, "nothing").await,
        }
    }
    stage.note(format!("{GOOD} good Watches answered in {:.0} ms", clock.elapsed().as_secs_f64() * 1e3));
    hold().await
}

async fn fail(stage: &Stage, number: usize, answer: &str) -> Result<()> {
    stage.broken(format!("good Watch {number} was answered with {answer}"));
    hold().await
}

fn request() -> bytes::Bytes {
    grpc::frame_bytes(&grpc::field(1, b"keyauthority.v1.KeyAuthority"))
}

/// A Watch that reads its answer, and stays open.
async fn good_watch(stage: &Stage) -> Result<(Peer, RecvStream, Pending), String> {
    let mut peer = Peer::open(stage, 65_535, None).await.map_err(|error| format!("{error:#}"))?;
    let (mut sender, answer) = peer.call(WATCH).await.map_err(|error| format!("{error:#}"))?;
    sender.send_data(request(), true).map_err(|error| error.to_string())?;
    let (mut body, pending) = answer.body().await?;
    match body.data().await {
        Some(Ok(data)) if data == SERVING => Ok((peer, body, pending)),
        other => Err(format!("{other:?}")),
    }
}
