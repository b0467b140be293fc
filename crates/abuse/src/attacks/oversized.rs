//! Whole messages of 5 MiB, which is more than any method but `ImportKeys` reads.

use anyhow::Result;
use bytes::Bytes;

use crate::attack::{Attack, hold};
use crate::grpc::{self, CHECK, REFLECTION, WATCH};
use crate::peer::{Peer, send_all};
use crate::stage::Stage;

const BYTES: usize = 5 * 1024 * 1024;
const AT_ONCE: usize = 8;

pub(super) const ATTACK: Attack =
    Attack::new("oversized-5mib", "messages of 5 MiB to each kind of method, 8 at once, over and over", |stage| {
        Box::pin(async move {
            let callers = (0..AT_ONCE).map(|number| caller(&stage, number));
            futures_util::future::try_join_all(callers).await?;
            hold().await
        })
    });

async fn caller(stage: &Stage, number: usize) -> Result<()> {
    let methods = ["Verify", "BatchVerify", "VerifyStream", "CreateKey", "UpdateAccount"].map(grpc::path);
    let others = [WATCH, REFLECTION, CHECK].map(str::to_owned);
    // An unknown field, so that the whole message is read before it is refused.
    let message = grpc::frame_bytes(&grpc::field(15, &vec![b'x'; BYTES]));
    let token = if number.is_multiple_of(2) { None } else { Some(stage.tenant.as_str()) };
    loop {
        for path in methods.iter().chain(&others) {
            let Ok(mut peer) = Peer::open(stage, 65_535, token).await else {
                stage.answers.count("no connection");
                continue;
            };
            let Ok((sender, answer)) = peer.call(path).await else { continue };
            send_and_read(sender, answer, message.clone()).await;
        }
    }
}

async fn send_and_read(mut sender: h2::SendStream<Bytes>, answer: crate::peer::Answer, message: Bytes) {
    let mut answer = tokio::spawn(answer.read());
    let sent = async {
        if send_all(&mut sender, message).await.is_ok() {
            let _ = sender.send_data(Bytes::new(), true);
        }
    };
    // The server may answer before it has read the message.
    tokio::select! {
        () = sent => drop(answer.await),
        _ = &mut answer => {}
    }
}
