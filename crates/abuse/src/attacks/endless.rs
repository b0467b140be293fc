//! Requests without an end, of callers that the server knows.

use anyhow::Result;
use bytes::Bytes;
use key_authority_proto::v1;

use crate::attack::Attack;
use crate::grpc;
use crate::peer::{Peer, send_all};
use crate::stage::Stage;

const CONNECTIONS: usize = 4;
const CHUNK: usize = 64 * 1024;

pub(super) const MESSAGE: Attack =
    Attack::new("endless-message", "4 callers whose one BatchVerify message never ends", |stage| {
        Box::pin(async move {
            let chunk = Bytes::from(vec![0x0a; CHUNK]);
            all(&stage, "BatchVerify", grpc::announce(u32::MAX).freeze(), chunk).await
        })
    });

pub(super) const STREAM: Attack = Attack::new(
    "endless-stream",
    "4 callers that send questions on a VerifyStream as fast as they are answered",
    |stage| {
        Box::pin(async move {
            let question = |id| v1::VerifyStreamRequest { id, request: Some(grpc::verify(&stage.large)) };
            let questions: Vec<u8> = (0..200).flat_map(|id| grpc::frame(&question(id)).to_vec()).collect();
            all(&stage, "VerifyStream", Bytes::new(), questions.into()).await
        })
    },
);

async fn all(stage: &Stage, method: &str, begin: Bytes, chunk: Bytes) -> Result<()> {
    let callers = (0..CONNECTIONS).map(|_| caller(stage, grpc::path(method), begin.clone(), chunk.clone()));
    futures_util::future::try_join_all(callers).await.map(drop)
}

async fn caller(stage: &Stage, path: String, begin: Bytes, chunk: Bytes) -> Result<()> {
    loop {
        let mut peer = Peer::open(stage, 65_535, Some(&stage.verifier)).await?;
        let (mut sender, answer) = peer.call(&path).await?;
        let mut answer = tokio::spawn(answer.skip());
        let sent = async {
            send_all(&mut sender, begin.clone()).await?;
            loop {
                send_all(&mut sender, chunk.clone()).await?;
            }
        };
        // The answer says why a call ended.
        let sent: Result<()> = tokio::select! {
            sent = sent => sent,
            _ = &mut answer => continue,
        };
        drop(sent);
        let _ = answer.await;
    }
}
