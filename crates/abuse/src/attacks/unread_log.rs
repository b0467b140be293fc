//! Nobody reads the server's standard error, and each call is logged: a full pipe must stop nothing.

use anyhow::Result;

use crate::attack::{Attack, hold};
use crate::grpc;
use crate::peer::Peer;
use crate::stage::Stage;

const CONNECTIONS: usize = 4;
const CALLS: usize = 20_000;

pub(super) const ATTACK: Attack =
    Attack::new("unread-log", "20,000 unauthenticated calls, while nobody reads standard error", |stage| {
        Box::pin(async move {
            let connections = (0..CONNECTIONS).map(|_| connection(&stage));
            futures_util::future::try_join_all(connections).await?;
            hold().await
        })
    })
    // The lines about strangers are limited at the default level.
    .server_arguments(&["--log", "debug"])
    .log_unread();

async fn connection(stage: &Stage) -> Result<()> {
    let mut peer = Peer::open(stage, 65_535, None).await?;
    let (path, message) = (grpc::path("ListKeys"), grpc::frame_bytes(&[]));
    for _ in 0..CALLS / CONNECTIONS {
        let (mut sender, answer) = peer.call(&path).await?;
        let _ = sender.send_data(message.clone(), true);
        answer.read().await;
    }
    Ok(())
}
