//! The worst attacks at once, from seven connections.

use anyhow::Result;

use super::{reflection, resets, unfinished_watches, unread_answers};
use crate::attack::Attack;
use crate::raw::flood;
use crate::stage::Stage;

pub(super) const ATTACK: Attack = Attack::new(
    "mix",
    "7 connections: 2 of reflection-unread, 1 of unfinished-watches, 2 of batch-unread-0, 1 of list-unread-0, \
     1 of rapid-reset",
    |stage| Box::pin(async move { run(&stage).await }),
)
.prepared_by(unread_answers::large_keys);

async fn run(stage: &Stage) -> Result<()> {
    let batch = || unread_answers::connection(stage, unread_answers::batch(stage), 0);
    let reset = |number| resets::rapid(number, &stage.verifier);
    tokio::try_join!(
        reflection::connection(stage),
        reflection::connection(stage),
        unfinished_watches::connection(stage),
        batch(),
        batch(),
        unread_answers::connection(stage, unread_answers::list(stage), 0),
        flood(stage, true, &[], reset),
    )
    .map(drop)
}
