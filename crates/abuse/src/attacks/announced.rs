//! Messages that are announced with 4 GiB, of which some KiB come.

use anyhow::Result;
use bytes::Bytes;

use crate::attack::{Attack, hold};
use crate::grpc::{self, CHECK, REFLECTION, WATCH};
use crate::peer::{Peer, send_all};
use crate::stage::Stage;

const STREAMS: usize = 100;
const SENT: usize = 16_000;

pub(super) const ATTACK: Attack = Attack::new(
    "announced-4gib",
    "messages announced with 4 GiB on 100 streams of each kind of method, with and without a token",
    |stage| Box::pin(async move { run(&stage).await }),
);

async fn run(stage: &Stage) -> Result<()> {
    let methods = ["Verify", "BatchVerify", "VerifyStream", "CreateKey", "ImportKeys", "ListKeys"].map(grpc::path);
    let others = [WATCH, REFLECTION, CHECK].map(str::to_owned);
    let mut message = grpc::announce(u32::MAX);
    message.resize(5 + SENT, 0x0a);
    let message: Bytes = message.freeze();
    let mut held = Vec::new();
    for token in [None, Some(stage.verifier.as_str()), Some(stage.tenant.as_str())] {
        for path in methods.iter().chain(&others) {
            let mut peer = Peer::open(stage, 65_535, token).await?;
            for _ in 0..STREAMS {
                let Ok((mut sender, answer)) = peer.call(path).await else { break };
                tokio::spawn(answer.count());
                // A stream that the server has ended takes no more data.
                let _ = send_all(&mut sender, message.clone()).await;
                held.push(sender);
            }
        }
    }
    hold().await
}
