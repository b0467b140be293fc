//! A tenant imports on many streams at once. Every message is a transaction; the operator's revocations must not wait
//! behind them.

use std::sync::Arc;

use anyhow::Result;
use futures_util::stream::unfold;
use key_authority_proto::v1;
use key_authority_testkit::rng::SeededRng;
use tonic::Status;

use crate::answers::of_status;
use crate::attack::Attack;
use crate::client::{Client, TENANT, client};
use crate::stage::{Stage, TENANT_ACCOUNT};

const STREAMS: u64 = 12;
const KEYS: usize = 2_000;
/// The pause before a stream that ended is opened again.
const REOPEN_DELAY: std::time::Duration = std::time::Duration::from_millis(20);

pub(super) const ATTACK: Attack =
    Attack::new("import-streams", "one tenant's caller with 12 ImportKeys streams of 2,000 keys a message", |stage| {
        Box::pin(async move {
            let client = client(&stage, &stage.tenant, TENANT)?;
            let streams = (0..STREAMS).map(|number| stream(Arc::clone(&stage), client.clone(), number));
            futures_util::future::try_join_all(streams).await.map(drop)
        })
    });

async fn stream(stage: Arc<Stage>, client: Client, number: u64) -> Result<()> {
    let mut rng = SeededRng::stream(1, number);
    loop {
        let messages = unfold(rng.fork(), |mut rng| async { Some((message(&mut rng), rng)) });
        let outcome = import(&stage, client.clone(), messages).await;
        stage.answers.count(outcome.map_or_else(|status| of_status(&status), |()| "end of the stream".to_owned()));
        tokio::time::sleep(REOPEN_DELAY).await;
    }
}

async fn import(
    stage: &Stage,
    mut client: Client,
    messages: impl futures_util::Stream<Item = v1::ImportKeysRequest> + Send + 'static,
) -> Result<(), Status> {
    let mut answers = client.import_keys(messages).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        stage.imported(answer.imported);
        stage.answers.count("imported");
    }
    Ok(())
}

fn message(rng: &mut SeededRng) -> v1::ImportKeysRequest {
    let mut key = || v1::ImportedKey {
        secret: Some(v1::imported_key::Secret::Token(format!("imported-{}-{}", rng.name(), rng.name()))),
        ..v1::ImportedKey::default()
    };
    let keys = (0..KEYS).map(|_| key()).collect();
    v1::ImportKeysRequest { account: TENANT_ACCOUNT.into(), keys, ..Default::default() }
}
