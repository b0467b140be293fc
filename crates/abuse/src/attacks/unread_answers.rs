//! Large answers that are never read: the server has made them and cannot send them.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};
use key_authority_proto::v1;

use crate::attack::{Attack, hold};
use crate::client::{OPERATOR, client};
use crate::grpc;
use crate::peer::Peer;
use crate::stage::{Stage, TENANT_ACCOUNT, create, large_key};

/// Calls on the one connection.
const CALLS: usize = 300;
/// Questions of a batch, and of a stream, about a key with many scopes and labels.
const QUESTIONS: usize = 120;
/// Large keys of the tenant, more than fit in a page of 3.5 MiB.
const KEYS: usize = 120;
/// Rows of an import, each with an error of its own.
const ROWS: usize = 1_000;

pub(super) const BATCH_WINDOW_0: Attack = Attack::new(
    "batch-unread-0",
    "one caller, 300 BatchVerify of 120 questions about a large key, window 0",
    |stage| held(stage, batch, 0),
);
pub(super) const BATCH_WINDOW_1: Attack =
    Attack::new("batch-unread-1", "the same with window 1", |stage| held(stage, batch, 1));

pub(super) const STREAM_WINDOW_0: Attack = Attack::new(
    "stream-unread-0",
    "one caller, 300 VerifyStream with 120 questions about a large key, window 0",
    |stage| held(stage, stream, 0),
);
pub(super) const STREAM_WINDOW_1: Attack =
    Attack::new("stream-unread-1", "the same with window 1", |stage| held(stage, stream, 1));

pub(super) const LIST_WINDOW_0: Attack =
    Attack::new("list-unread-0", "one tenant's caller, 300 ListKeys of 120 large keys, window 0", |stage| {
        held(stage, list, 0)
    })
    .prepared_by(large_keys);
pub(super) const LIST_WINDOW_1: Attack =
    Attack::new("list-unread-1", "the same with window 1", |stage| held(stage, list, 1)).prepared_by(large_keys);

pub(super) const IMPORT_WINDOW_0: Attack =
    Attack::new("import-unread-0", "one tenant's caller, 300 ImportKeys of 1,000 invalid rows, window 0", |stage| {
        held(stage, import, 0)
    });
pub(super) const IMPORT_WINDOW_1: Attack =
    Attack::new("import-unread-1", "the same with window 1", |stage| held(stage, import, 1));

/// What each of the calls is: the caller's token, the method and the request.
pub(super) struct Call {
    token: String,
    path: String,
    request: Bytes,
}

fn held(stage: Arc<Stage>, call: fn(&Stage) -> Call, window: u32) -> LocalBoxFuture<'static, Result<()>> {
    Box::pin(async move { connection(&stage, call(&stage), window).await })
}

/// One connection, held.
pub(super) async fn connection(stage: &Stage, call: Call, window: u32) -> Result<()> {
    let (mut peer, mut streams) = (Peer::open(stage, window, Some(&call.token)).await?, Vec::new());
    for _ in 0..CALLS {
        match peer.send(&call.path, call.request.clone(), true).await {
            Ok(stream) => streams.push(stream),
            Err(_refused) => break,
        }
    }
    hold().await
}

pub(super) fn batch(stage: &Stage) -> Call {
    let request = grpc::frame(&grpc::batch(&stage.large, QUESTIONS));
    Call { token: stage.verifier.clone(), path: grpc::path("BatchVerify"), request }
}

fn stream(stage: &Stage) -> Call {
    let question = |id| v1::VerifyStreamRequest { id, request: Some(grpc::verify(&stage.large)) };
    let questions = (0..QUESTIONS as u64).flat_map(|id| grpc::frame(&question(id)).to_vec());
    Call { token: stage.verifier.clone(), path: grpc::path("VerifyStream"), request: questions.collect() }
}

pub(super) fn list(stage: &Stage) -> Call {
    let request = v1::ListKeysRequest { account: TENANT_ACCOUNT.into(), page_size: 1_000, ..Default::default() };
    Call { token: stage.tenant.clone(), path: grpc::path("ListKeys"), request: grpc::frame(&request) }
}

fn import(stage: &Stage) -> Call {
    // Without a secret, each row has an error.
    let keys = vec![v1::ImportedKey { key_id: "not an ID".into(), ..Default::default() }; ROWS];
    let request = v1::ImportKeysRequest { account: TENANT_ACCOUNT.into(), keys, ..Default::default() };
    Call { token: stage.tenant.clone(), path: grpc::path("ImportKeys"), request: grpc::frame(&request) }
}

/// Creates the keys that fill a page.
pub(super) fn large_keys(stage: Arc<Stage>) -> LocalBoxFuture<'static, Result<()>> {
    Box::pin(async move {
        let root = client(&stage, &stage.root, OPERATOR)?;
        let keys = iter(0..KEYS).map(|_| create(root.clone(), large_key()));
        keys.buffer_unordered(8).try_for_each(async |_| Ok(())).await
    })
}
